package workload

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
)

// Named is one container of one workload, as its name is given.
type Named struct {
	Kind, Name string
	Container  string // may be an init container's; empty means the only one that is none
}

// String returns "deployment/hello-app:app", or without a container "deployment/hello-app".
func (n Named) String() string {
	return strings.TrimSuffix(strings.ToLower(n.Kind)+"/"+n.Name+":"+n.Container, ":")
}

// ParseNamed reads KIND/NAME or KIND/NAME:CONTAINER, separated by commas.
func ParseNamed(text string) ([]Named, error) {
	var all []Named
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		match := namedGrammar.FindStringSubmatch(entry)
		if match == nil {
			return nil, fmt.Errorf("%q is not KIND/NAME or KIND/NAME:CONTAINER", entry)
		}
		i := slices.IndexFunc(kinds, func(r cluster.Resource) bool { return strings.EqualFold(r.Kind, match[1]) })
		if i < 0 {
			return nil, fmt.Errorf("%q: the kind is none of deployment, statefulset, daemonset, cronjob, deploymentconfig", entry)
		}
		named := Named{Kind: kinds[i].Kind, Name: match[2], Container: match[3]}
		if slices.Contains(all, named) {
			return nil, fmt.Errorf("%q is there twice", entry)
		}
		all = append(all, named)
	}
	return all, nil
}

// namedGrammar holds names to those that Kubernetes allows: DNS names for workloads, DNS labels for containers.
var namedGrammar = regexp.MustCompile(
	`^([A-Za-z]+)/([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)(?::([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?))?$`)

// Place is one container of a workload that was found, and the image that its pod template has there.
type Place struct {
	Workload  Workload
	Container string
	Image     string
	Kept      Kept // what [Client.SetImages] kept there; the zero value when nothing did
}

// Named returns the name of the place, with its container.
func (p Place) Named() Named {
	return Named{Kind: p.Workload.Kind, Name: p.Workload.Name, Container: p.Container}
}

// String returns "Deployment hello-app (container app)".
func (p Place) String() string { return fmt.Sprintf("%s (container %s)", p.Workload, p.Container) }

// Find reads the workloads of that name, each once, and finds the containers in them. That one of them is not there is
// an error of kind fault.NotFound.
func (c *Client) Find(ctx context.Context, names []Named) ([]Place, error) {
	var places []Place
	read := map[Named]Workload{}
	for _, named := range names {
		key := Named{Kind: named.Kind, Name: named.Name}
		w, known := read[key]
		if !known {
			var err error
			if w, err = c.get(ctx, named.Kind, named.Name); err != nil {
				return nil, err
			}
			read[key] = w
		}
		place, err := w.place(named)
		if err != nil {
			return nil, fault.At(cluster.Side, err)
		}
		if slices.ContainsFunc(places, func(p Place) bool { return p.Named() == place.Named() }) {
			return nil, fault.New(fault.Configuration, "%s is named twice", place)
		}
		places = append(places, place)
	}
	return places, nil
}

func (c *Client) get(ctx context.Context, kind, name string) (Workload, error) {
	object, err := c.cluster.Get(ctx, resourceOf(kind), c.namespace, name)
	if err != nil {
		return Workload{}, err
	}
	return read(kind, object), nil
}

// resourceOf returns the resource of one of our kinds.
func resourceOf(kind string) cluster.Resource {
	return kinds[slices.IndexFunc(kinds, func(r cluster.Resource) bool { return r.Kind == kind })]
}

func (w Workload) place(named Named) (Place, error) {
	var fit []Container
	for i, container := range w.Containers {
		if container.Name == named.Container || named.Container == "" && i >= w.inits {
			fit = append(fit, container)
		}
	}
	switch {
	case named.Container == "" && len(fit) > 1:
		return Place{}, fault.New(fault.Configuration, "%s has %d containers: say which as %s:CONTAINER (%s)",
			w, len(fit), named, strings.Join(w.containerNames(), ", "))
	case len(fit) == 0:
		return Place{}, fault.New(fault.NotFound, "%s has no container %q, only %s",
			w, named.Container, strings.Join(w.containerNames(), ", "))
	}
	place := Place{Workload: w, Container: fit[0].Name, Image: fit[0].Image}
	kept, err := w.kept()
	place.Kept = kept[place.Container]
	return place, err
}

func (w Workload) containerNames() []string {
	var names []string
	for _, container := range w.Containers {
		names = append(names, container.Name)
	}
	return names
}

// Followed returns the stream tag whose image the cluster itself writes into the place; "" when none does.
func (p Place) Followed() string {
	for _, trigger := range p.Workload.Triggers {
		if trigger.Container == p.Container && !trigger.Paused && trigger.Problem == "" {
			return trigger.StreamTag
		}
	}
	return ""
}

// Wanted is what one container of one workload should run.
type Wanted struct {
	Named    Named    // with its container
	Image    string   // as the pod template should have it
	Children []string // digests of an index's images: a pod may report one of them
}

// surveyNamed looks at the workloads that are wanted, and at no others.
func (c *Client) surveyNamed(ctx context.Context, all []Wanted) (Survey, error) {
	var survey Survey
	known := map[Named]Workload{}
	for _, wanted := range all {
		key := Named{Kind: wanted.Named.Kind, Name: wanted.Named.Name}
		w, found := known[key]
		if !found {
			var err error
			if w, err = c.get(ctx, key.Kind, key.Name); err != nil {
				return Survey{}, err
			}
			known[key] = w
		}
		place, err := w.place(wanted.Named)
		if err != nil {
			return Survey{}, fault.At(cluster.Side, err)
		}
		follower := Follower{Workload: w.String(), Container: place.Container, Image: place.Image}
		if follower.Pods, err = c.pods(ctx, w, place.Container); err != nil {
			return Survey{}, err
		}
		if follower.Image != wanted.Image {
			follower.Phase, follower.Message = Failed, "somebody else set it to "+follower.Image+" in the meantime"
		} else {
			follower.Phase, follower.Message = w.progress()
			follower.judgeNamed(wanted)
		}
		survey.Followers = append(survey.Followers, follower)
	}
	return survey, nil
}

// judgeNamed is judgePods for an image that need not have a digest: then the pods must have been made from the template.
func (f *Follower) judgeNamed(wanted Wanted) {
	digest := image.DigestOf(wanted.Image)
	if digest != "" {
		f.judgePods(append([]string{digest}, wanted.Children...))
		return
	}
	for _, pod := range f.Pods {
		if !pod.Leaving && !f.isNew(pod) && f.Phase == Complete {
			f.Phase, f.Message = RollingOut, fmt.Sprintf("pod %s runs %s", pod.Name, pod.Image)
		}
	}
	f.tellTrouble()
}
