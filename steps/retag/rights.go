package retag

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
	"dockline/pkg/workload"
)

// The Roles in tekton/environment/roles.yaml.
const (
	lookRole   = "dockline-look"
	tagRole    = "dockline-tag"
	createRole = "dockline-create"
)

// need is a right that this run uses, and the Role that gives it.
type need struct {
	cluster.Right
	role string
}

// needs returns the rights that this run uses when it moves the tag. That a name is asked for too is for Roles that are
// given for one stream (resourceNames).
func (r *run) needs() []need {
	of := func(verb string, resource cluster.Resource, name, role string) need {
		return need{cluster.Right{Verb: verb, Resource: resource, Namespace: r.Namespace, Name: name}, role}
	}
	needs := []need{
		of("get", imagestream.Streams, r.Name.Stream, lookRole),
		of("watch", imagestream.Streams, r.Name.Stream, tagRole),
		of("create", imagestream.StreamTags, "", tagRole),
		of("update", imagestream.StreamTags, r.Name.String(), tagRole),
		of("get", imagestream.Images, "", lookRole),
	}
	if !r.Rollback || r.ExpectCurrent != "" {
		needs = append(needs, of("create", imagestream.Imports, "", tagRole))
	}
	for _, right := range workload.LookRights(r.Namespace) {
		needs = append(needs, need{right, lookRole})
	}
	if r.CreateApp {
		for _, right := range workload.CreateRights(r.Namespace, cmp.Or(r.AppName, r.Name.Stream)) {
			needs = append(needs, need{right, createRole})
		}
	}
	return needs
}

// find reads the stream (nil where there is none), and then asks whether the account has all the rights that the run
// uses: one that would end half-way for want of a right ends here, before anything is changed. It costs one round trip, on
// the connection that the stream came by. Where the cluster does not answer such questions the run goes on: what is not
// allowed is then refused when it is done.
func (r *run) find(ctx context.Context) (*imagestream.Stream, error) {
	stream, err := r.Streams.Find(ctx, r.Name.Stream)
	if err != nil && !cluster.Forbidden(err) {
		return nil, err
	}
	needs := r.needs()
	if err == nil {
		needs = slices.DeleteFunc(needs, func(one need) bool { return r.unused(one.Right, stream) })
	}
	rights := make([]cluster.Right, len(needs))
	for i, one := range needs {
		rights[i] = one.Right
	}
	lacking, unknown := r.API.Missing(ctx, rights)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("checking the rights for %s: %w", r.Name, cluster.Ended(ctx))
	}
	if unknown != nil {
		event := r.rt.Log.Warn()
		if kind := fault.KindOf(unknown); kind == fault.Denied || kind == fault.NotFound {
			event = r.rt.Log.Debug()
		}
		event.Err(unknown).Msg("the cluster does not tell beforehand what this account may do: a missing right shows when it is used")
	}
	lacks := slices.DeleteFunc(needs, func(one need) bool { return !slices.Contains(lacking, one.Right) })
	if slices.ContainsFunc(lacks, func(one need) bool { return one.Verb != "watch" }) {
		return nil, r.missing(ctx, lacks)
	}
	for _, one := range lacks { // the one right that only saves time
		r.rt.Log.Warn().Msgf("the account may not %s: the end of the import is noticed later (the Role %s gives that right)", one, one.role)
	}
	return stream, err
}

// unused tells which rights a run does not use after it has read the stream, which is there or not.
func (r *run) unused(right cluster.Right, stream *imagestream.Stream) bool {
	switch right.Resource {
	case imagestream.Streams:
		return right.Verb == "get"
	case imagestream.StreamTags:
		return (right.Verb == "create") != (stream == nil)
	case imagestream.Imports: // a rollback asks for the images of an index that EXPECT_CURRENT may mean
		tag, _ := stream.Tag(r.Name.Tag)
		now := tag.Digest()
		return r.Rollback && (r.ExpectCurrent == none || now == "" || now == r.ExpectCurrent)
	}
	return false
}

// missing is the error that names all rights that are missing, whose they are, and the Roles that give them.
func (r *run) missing(ctx context.Context, lacks []need) error {
	var (
		rights []cluster.Right
		roles  []string
	)
	for _, one := range lacks {
		rights = append(rights, one.Right)
		if !slices.Contains(roles, one.role) {
			roles = append(roles, one.role)
		}
	}
	give, them := "Role "+roles[0]+" gives", "it"
	if len(roles) > 1 {
		give, them = "Roles "+strings.Join(roles[:len(roles)-1], ", ")+" and "+roles[len(roles)-1]+" give", "them"
	}
	who := cmp.Or(r.API.User(ctx), "this account")
	return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Denied,
		"checking the rights for %s: %s may not, in the namespace %q, %s", r.Name, who, r.Namespace, cluster.ListRights(rights))),
		fmt.Sprintf("Nothing was changed. The %s what is missing (tekton/environment/roles.yaml): bind %s in the namespace %s to %s.",
			give, them, r.Namespace, who))
}
