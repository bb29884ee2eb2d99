package imageapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/imageapi"
)

// running returns the digests that the pods of dev run, each with READY or with why it waits.
func (w *world) running() map[string]int {
	found := map[string]int{}
	for _, pod := range w.List("pods", "dev") {
		what := "nothing yet"
		for _, one := range list(pod, "status", "containerStatuses") {
			_, digest, _ := strings.Cut(fmt.Sprint(one["imageID"]), "@")
			state := "not ready"
			if one["ready"] == true {
				state = "ready"
			}
			if waiting, ok := one["state"].(map[string]any)["waiting"].(map[string]any); ok {
				state = fmt.Sprint(waiting["reason"])
			}
			what = strings.TrimSpace(digest + " " + state)
		}
		found[what]++
	}
	return found
}

func TestRollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{})
	if _, err := w.Create("deployments", imageapi.Deployment("dev", "web", "hello:dev")); err != nil {
		t.Fatal(err)
	}
	w.until("the blank image is reported", func() bool {
		return condition(w.object("deployments", "web"), "ReplicaFailure") == "True FailedCreate"
	})
	for i, version := range []string{"1.0", "1.1", "1.0"} {
		w.tag(version)
		complete := "True NewReplicaSetAvailable"
		w.until("the rollout of "+version+" is complete", func() bool {
			web := w.object("deployments", "web")
			_, ending := web["status"].(map[string]any)["terminatingReplicas"] // the old pod, after the new one is ready
			return condition(web, "Progressing") == complete && !ending &&
				maps.Equal(w.running(), map[string]int{w.digests[version] + " ready": 1})
		})
		web := w.object("deployments", "web")
		got := map[string]any{
			"image": list(web, "spec", "template", "spec", "containers")[0]["image"], "status": web["status"],
			"generation": web["metadata"].(map[string]any)["generation"],
			"revision":   web["metadata"].(map[string]any)["annotations"].(map[string]any)["deployment.kubernetes.io/revision"],
		}
		delete(got["status"].(map[string]any), "conditions")
		generation := int64(i + 2)
		want := map[string]any{
			"image": w.image + "@" + w.digests[version], "generation": generation, "revision": fmt.Sprint(i + 2),
			"status": map[string]any{
				"observedGeneration": generation, "replicas": int64(1), "updatedReplicas": int64(1),
				"readyReplicas": int64(1), "availableReplicas": int64(1),
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d: %s: -want +got\n%s", i, version, diff)
		}
	}
}

func TestRolloutOfEachKind(t *testing.T) {
	t.Parallel()
	for _, plural := range []string{"deployments", "deploymentconfigs", "statefulsets", "daemonsets"} {
		t.Run(plural, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, imageapi.Options{})
			w.tag("1.0")
			object := imageapi.Deployment("dev", "web", "hello:dev")
			pods := 3
			object["spec"].(map[string]any)["replicas"] = pods
			switch plural {
			case "daemonsets":
				delete(object["spec"].(map[string]any), "replicas")
				pods = 1
			case "deploymentconfigs":
				delete(object["metadata"].(map[string]any), "annotations")
				object["spec"].(map[string]any)["selector"] = map[string]any{"deployment": "web"}
				object["spec"].(map[string]any)["triggers"] = []any{map[string]any{
					"type": "ImageChange", "imageChangeParams": map[string]any{
						"automatic": true, "containerNames": []any{"hello"},
						"from": map[string]any{"kind": "ImageStreamTag", "name": "hello:dev"},
					},
				}}
			}
			if _, err := w.Create(plural, object); err != nil {
				t.Fatal(err)
			}
			for _, version := range []string{"1.0", "1.1"} {
				w.tag(version)
				want := map[string]int{w.digests[version] + " ready": pods}
				w.until(fmt.Sprintf("all pods run %s", version), func() bool { return maps.Equal(w.running(), want) })
			}
			w.until("the status has seen the generation", func() bool {
				object := w.object(plural, "web")
				return object["status"].(map[string]any)["observedGeneration"] ==
					object["metadata"].(map[string]any)["generation"]
			})
			if err := w.Delete(plural, "dev", "web"); err != nil {
				t.Fatal(err)
			}
			w.until("the pods are gone with their workload", func() bool { return len(w.running()) == 0 })
		})
	}
}

func TestTroubledRollout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description string
		faults      func(w *world) imageapi.Faults
		wantNew     string // how the new pod is
	}{
		{"the node cannot pull the image", func(w *world) imageapi.Faults {
			return imageapi.Faults{Pull: func(image string) string {
				if strings.HasSuffix(image, w.digests["1.1"]) {
					return "manifest unknown"
				}
				return ""
			}}
		}, "ImagePullBackOff"},
		{"the program ends at once", func(w *world) imageapi.Faults {
			return imageapi.Faults{Crash: func(image string) string {
				if strings.HasSuffix(image, w.digests["1.1"]) {
					return "back-off 10s restarting failed container"
				}
				return ""
			}}
		}, "1.1 CrashLoopBackOff"},
		{"the program never answers", func(*world) imageapi.Faults {
			return imageapi.Faults{Stuck: func(_, workload string) bool { return workload == "web" }}
		}, "1.1 not ready"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, imageapi.Options{ProgressDeadline: time.Second})
			w.tag("1.0")
			if _, err := w.Create("deployments", imageapi.Deployment("dev", "web", "hello:dev")); err != nil {
				t.Fatal(err)
			}
			old := w.digests["1.0"] + " ready"
			w.until("1.0 runs", func() bool { return w.running()[old] == 1 })
			faults := test.faults(w)
			if stuck := faults.Stuck; stuck != nil {
				old = w.digests["1.0"] + " not ready" // it strikes the old pod, too
			}
			w.SetFaults(faults)
			w.tag("1.1")
			wantNew := strings.Replace(test.wantNew, "1.1", w.digests["1.1"], 1)
			w.until("the new pod is in trouble and the old one stays", func() bool {
				return maps.Equal(w.running(), map[string]int{wantNew: 1, old: 1})
			})
			w.until("the cluster gives up", func() bool {
				return condition(w.object("deployments", "web"), "Progressing") == "False ProgressDeadlineExceeded"
			})
			w.SetFaults(imageapi.Faults{})
			w.until("the rollout completes once the trouble is over", func() bool {
				return maps.Equal(w.running(), map[string]int{w.digests["1.1"] + " ready": 1})
			})
		})
	}
}

func TestTriggerThatDoesNotFire(t *testing.T) {
	t.Parallel()
	annotate := func(change func(entry map[string]any)) func(object map[string]any) {
		return func(object map[string]any) {
			annotations := object["metadata"].(map[string]any)["annotations"].(map[string]any)
			var entries []map[string]any
			if err := json.Unmarshal([]byte(annotations["image.openshift.io/triggers"].(string)), &entries); err != nil {
				panic(err)
			}
			change(entries[0])
			data, _ := json.Marshal(entries)
			annotations["image.openshift.io/triggers"] = string(data)
		}
	}
	for _, test := range []struct {
		description string
		change      func(object map[string]any)
	}{
		{"paused", annotate(func(entry map[string]any) { entry["paused"] = true })},
		{"a text for paused spoils the whole annotation", annotate(func(entry map[string]any) { entry["paused"] = "false" })},
		{"another tag", annotate(func(entry map[string]any) {
			entry["from"] = map[string]any{"kind": "ImageStreamTag", "name": "hello:prod"}
		})},
		{"a container that is not there", annotate(func(entry map[string]any) {
			entry["fieldPath"] = `spec.template.spec.containers[?(@.name=="other")].image`
		})},
		{"no annotation", func(object map[string]any) { delete(object["metadata"].(map[string]any), "annotations") }},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, imageapi.Options{})
			w.tag("1.0")
			object := imageapi.Deployment("dev", "web", "hello:dev")
			test.change(object)
			for _, one := range []map[string]any{object, imageapi.Deployment("dev", "web2", "hello:dev")} {
				if _, err := w.Create("deployments", one); err != nil {
					t.Fatal(err)
				}
			}
			want := w.image + "@" + w.digests["1.0"]
			w.until("the other workload, made later, follows", func() bool { return w.template("web2") == want })
			if got := w.template("web"); got != " " {
				t.Errorf("the image is %q, want the blank that it was", got)
			}
		})
	}
}

func (w *world) template(name string) any {
	containers := list(w.object("deployments", name), "spec", "template", "spec", "containers")
	if len(containers) == 0 {
		return nil
	}
	return containers[0]["image"]
}
