package story

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"dockline/e2e/imageapi"
)

// Environment is a namespace of the cluster and the image stream tag in it. What it runs is read from the API itself.
type Environment struct {
	Namespace string // the tag is called like it: hello-app:dev in dev
	API       string // the cluster's address
	Router    string // the routes' address
	Token     string // of the account that has the rights that retag and verify need

	registry *Registry // that it pulls from
	admin    string    // token of who may do everything
	client   *http.Client
}

func (e *Environment) name() string { return e.Namespace + "/" + appName + ":" + e.Namespace }

// URL is where the service is reached.
func (e *Environment) URL() string { return e.Router + "/" + e.Namespace + "/" + appName + "/" }

// variables are those by which a step reaches the environment.
func (e *Environment) variables() with {
	return with{
		"NAMESPACE": e.Namespace, "STREAM_TAG": appName + ":" + e.Namespace,
		"KUBE_SERVER": e.API, "KUBE_TOKEN": e.Token, "KUBE_CA_FILE": caFile,
	}
}

// account has the rights that retag and verify need in the namespace, and no others.
func (e *Environment) account() imageapi.User {
	in := []string{e.Namespace}
	return imageapi.User{Token: e.Token, Name: "system:serviceaccount:" + e.Namespace + ":dockline", Rules: []imageapi.Rule{
		{Namespaces: in, Resources: []string{"imagestreams"}, Verbs: []string{"get", "watch"}},
		{Namespaces: in, Resources: []string{"imagestreamtags"}, Verbs: []string{"create", "update"}},
		{Namespaces: in, Resources: []string{"imagestreamimports"}, Verbs: []string{"create"}},
		{Namespaces: in, Resources: []string{"imagestreamimages"}, Verbs: []string{"get"}},
		{Namespaces: in, Resources: []string{"deployments"}, Verbs: []string{"list", "get", "create"}},
		{
			Namespaces: in, Verbs: []string{"list"},
			Resources: []string{"deploymentconfigs", "statefulsets", "daemonsets", "cronjobs", "pods"},
		},
		{Namespaces: in, Resources: []string{"services", "routes"}, Verbs: []string{"get", "create"}},
	}}
}

// addPullSecret lets the namespace pull from its registry.
func (e *Environment) addPullSecret(ctx context.Context) error {
	file, err := json.Marshal(map[string]any{"auths": map[string]any{
		e.registry.Host: map[string]string{"username": e.registry.Username, "password": e.registry.Password},
	}})
	if err != nil {
		return err
	}
	_, err = ask(ctx, e.client, http.MethodPost, e.API+"/api/v1/namespaces/"+e.Namespace+"/secrets", e.admin, map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "registry"},
		"type": "kubernetes.io/dockerconfigjson",
		"data": map[string]any{".dockerconfigjson": base64.StdEncoding.EncodeToString(file)},
	}, http.StatusCreated)
	return err
}

// tagState is what the stream says of the environment's tag.
type tagState struct {
	Spec struct {
		Name         string
		From         struct{ Name string }
		ImportPolicy struct{ Scheduled bool }
	}
	History []string // digests, the latest first
}

func (t tagState) from() string { return t.Spec.From.Name }

func (t tagState) digest() string {
	if len(t.History) == 0 {
		return ""
	}
	return t.History[0]
}

// stream reads the environment's tag.
func (e *Environment) stream(ctx context.Context) (tagState, error) {
	text, err := ask(ctx, e.client, http.MethodGet,
		e.API+"/apis/image.openshift.io/v1/namespaces/"+e.Namespace+"/imagestreams/"+appName, e.admin, nil, http.StatusOK)
	if err != nil {
		return tagState{}, err
	}
	var stream struct {
		Spec struct {
			Tags []json.RawMessage
		}
		Status struct {
			Tags []struct {
				Tag   string
				Items []struct{ Image string }
			}
		}
	}
	if err := json.Unmarshal(text, &stream); err != nil {
		return tagState{}, err
	}
	var found tagState
	for _, raw := range stream.Spec.Tags {
		tag := tagState{}
		if err := json.Unmarshal(raw, &tag.Spec); err != nil {
			return tagState{}, err
		}
		if tag.Spec.Name == e.Namespace {
			found = tag
		}
	}
	for _, tag := range stream.Status.Tags {
		for _, item := range tag.Items {
			if tag.Tag == e.Namespace {
				found.History = append(found.History, item.Image)
			}
		}
	}
	if found.Spec.Name == "" {
		return found, errors.New("the stream has no tag " + e.Namespace)
	}
	return found, nil
}

// Page fetches the service's page.
func (e *Environment) Page(ctx context.Context) (string, error) {
	text, err := ask(ctx, e.client, http.MethodGet, e.URL(), "", nil, http.StatusOK)
	return string(text), err
}

// means wants the tag to mean an image.
func (e *Environment) means(name string, digest *string) Fact {
	return Fact{name, TagOfStream{e}, func(ctx context.Context) error {
		tag, err := e.stream(ctx)
		if err == nil && (tag.digest() != *digest || *digest == "") {
			return different(tag.digest(), *digest)
		}
		return err
	}}
}

// scheduled wants the tag to be imported from time to time, or not.
func (e *Environment) scheduled(name string, want bool) Fact {
	return Fact{name, TagOfStream{e}, func(ctx context.Context) error {
		tag, err := e.stream(ctx)
		if err == nil && tag.Spec.ImportPolicy.Scheduled != want {
			return fmt.Errorf("scheduled is %t", tag.Spec.ImportPolicy.Scheduled)
		}
		return err
	}}
}

// remembers wants the tag's history to be these images, the latest first.
func (e *Environment) remembers(name string, images []*string) Fact {
	return Fact{name, TagOfStream{e}, func(ctx context.Context) error {
		var want []string
		for _, image := range images {
			want = append(want, *image)
		}
		tag, err := e.stream(ctx)
		if err == nil && !slices.Equal(tag.History, want) {
			return different(tag.History, want)
		}
		return err
	}}
}

// pods wants every pod of the service to run an image, and at least one to be there.
func (e *Environment) pods(name string, digest *string) Fact {
	return Fact{name, TagOfStream{e}, func(ctx context.Context) error {
		text, err := ask(ctx, e.client, http.MethodGet, e.API+"/api/v1/namespaces/"+e.Namespace+"/pods", e.admin, nil, http.StatusOK)
		if err != nil {
			return err
		}
		var pods struct {
			Items []struct {
				Metadata struct {
					Name              string
					DeletionTimestamp string
					Labels            map[string]string
				}
				Status struct {
					ContainerStatuses []struct{ ImageID string }
				}
			}
		}
		if err := json.Unmarshal(text, &pods); err != nil {
			return err
		}
		running := 0
		for _, pod := range pods.Items {
			if pod.Metadata.DeletionTimestamp != "" || pod.Metadata.Labels["deployment"] != appName {
				continue
			}
			for _, container := range pod.Status.ContainerStatuses {
				if !strings.HasSuffix(container.ImageID, "@"+*digest) {
					return fmt.Errorf("%s runs %q, not %q", pod.Metadata.Name, container.ImageID, *digest)
				}
				running++
			}
		}
		if running == 0 {
			return errors.New("there is no pod")
		}
		return nil
	}}
}

// shows wants the service's page to say a text.
func (e *Environment) shows(name, text string) Fact {
	return Fact{name, PageOf{e}, func(ctx context.Context) error {
		page, err := e.Page(ctx)
		if err == nil && Heading(page) != text {
			return different(Heading(page), text)
		}
		return err
	}}
}
