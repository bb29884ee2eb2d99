package workload_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/workload"
)

func TestParseNamed(t *testing.T) {
	t.Parallel()
	got, err := workload.ParseNamed("deployment/hello-app, StatefulSet/db:db,cronjob/x.y:init,deploymentconfig/d,daemonset/l")
	want := []workload.Named{
		{Kind: "Deployment", Name: "hello-app"}, {Kind: "StatefulSet", Name: "db", Container: "db"},
		{Kind: "CronJob", Name: "x.y", Container: "init"}, {Kind: "DeploymentConfig", Name: "d"}, {Kind: "DaemonSet", Name: "l"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, name := range want {
		if again, err := workload.ParseNamed(name.String()); err != nil || again[0] != name {
			t.Errorf("%s is read as %v (%v)", name, again, err)
		}
	}
	for text, says := range map[string]string{
		"":                              `"" is not KIND/NAME`,
		"hello-app":                     `"hello-app" is not KIND/NAME`,
		"deployment/a,":                 `"" is not KIND/NAME`,
		"deployment/../secrets":         "is not KIND/NAME",
		"deployment/a/b":                "is not KIND/NAME",
		"deployment/a:":                 "is not KIND/NAME",
		"deployment/a:b:c":              "is not KIND/NAME",
		"deployment/A":                  "is not KIND/NAME",
		"pod/a":                         "the kind is none of deployment",
		"deployment/a,deployment/a":     "is there twice",
		"deployment/a:b,Deployment/a:b": "is there twice",
	} {
		if _, err := workload.ParseNamed(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: the error is %v, and must say %q", text, err, says)
		}
	}
}
