package retag_test

import (
	"bytes"
	"strings"
	"testing"

	"dockline/pkg/step"
	"dockline/steps/retag"
)

func TestSettingsOfWorkloads(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ settings, says string }{
		{"", "STREAM_TAG is missing (or WORKLOADS, on a cluster without image streams)"},
		{"STREAM_TAG=hello-app:dev WORKLOADS=deployment/x", "STREAM_TAG and WORKLOADS are both set: set one of them"},
		{"STREAM_TAG=hello-app:dev TAKE_OVER_FROM=helm", "TAKE_OVER_FROM is set: it goes with WORKLOADS only"},
		{"WORKLOADS=pod/x", "WORKLOADS: \"pod/x\": the kind is none of"},
		{"WORKLOADS=deployment/x IMPORT_SCHEDULED=true", "IMPORT_SCHEDULED is set: it is about image streams"},
		{"WORKLOADS=deployment/x IMPORT_INSECURE=false", "IMPORT_INSECURE is set"},
		{"WORKLOADS=deployment/x REFERENCE_POLICY=Local", "REFERENCE_POLICY is set"},
		{"WORKLOADS=deployment/x IMPORT_MODE=Legacy", "IMPORT_MODE is set"},
		{"WORKLOADS=deployment/x CREATE_APP=true", "CREATE_APP is set"},
		{"WORKLOADS=deployment/x APP_NAME=x", "APP_NAME is set"},
		{"WORKLOADS=deployment/x ROLLBACK=true ROLLBACK_TO=1.0", "ROLLBACK_TO is set"},
		{"WORKLOADS=deployment/x EXPECT_CURRENT=none", "EXPECT_CURRENT: none does not go with WORKLOADS"},
	} {
		var out bytes.Buffer
		status := step.Run(t.Context(), retag.Program(), nil, append(strings.Fields(row.settings), "RESULTS_DIR="+t.TempDir(),
			"NAMESPACE=dev", "KUBE_SERVER=https://127.0.0.1:1", "KUBE_TOKEN=good", "REGISTRY=127.0.0.1:1", "IMAGE=deepsky/hello:1.0"), &out, &out)
		if status != 2 || !strings.Contains(out.String(), row.says) {
			t.Errorf("%s: exit status %d; it must say %q:\n%s", row.settings, status, row.says, out.String())
		}
	}
}
