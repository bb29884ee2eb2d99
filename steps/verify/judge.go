package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/imagestream"
	"dockline/pkg/registry"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// judge compares the description with what is expected. Checks that need nothing expected are made in any case, so
// that a description shows them too.
func (r *run) judge(ctx context.Context, report *Report) error {
	if report.Named != "" {
		report.Checks = append(report.Checks, checkSet(report))
	} else {
		report.Checks = append(report.Checks, checkImport(report))
	}
	if r.ExpectRetagged {
		report.Checks = append(report.Checks, checkRetagged(report))
	}
	if r.wanted != "" {
		check, err := r.checkImage(ctx, report)
		if err != nil {
			return err
		}
		report.Checks = append(report.Checks, check)
	}
	if r.repository != nil {
		check, err := r.checkRegistry(ctx, report)
		if err != nil {
			return err
		}
		report.Checks = append(report.Checks, check)
	}
	if r.repository == nil && r.registry != nil {
		check, err := r.checkSource(ctx, report)
		if err != nil {
			return err
		}
		report.Checks = append(report.Checks, check)
	}
	pods := checkPods(report)
	if pods.Status == failed && report.Named != "" && r.registry == nil {
		report.hint = "If the image is for several platforms, of which a node reports one, set REGISTRY to where it is, so that it " +
			"can be looked into."
	}
	report.Checks = append(report.Checks, checkTemplates(report), pods)
	if r.CompareWith != "" {
		check, err := r.checkCompared(ctx, report)
		if err != nil {
			return err
		}
		report.Checks = append(report.Checks, check)
	}
	if r.URL != "" {
		check, err := r.checkPage(ctx)
		if err != nil {
			return err
		}
		report.Checks = append(report.Checks, check)
	}
	return nil
}

func checkImport(report *Report) Check {
	check := Check{Name: "import", Expected: "the tag is imported", Status: passed, Found: "imported from " + report.TaggedFrom}
	switch {
	case report.ImportError != nil:
		check.Status = failed
		check.Found = fmt.Sprintf("import failed (%s): %s", report.ImportError.Reason, report.ImportError.Message)
	case !report.settled || report.Digest == "":
		check.Status, check.Found = failed, "the import of "+report.TaggedFrom+" is not finished"
	}
	return check
}

func (r *run) checkImage(ctx context.Context, report *Report) (Check, error) {
	check := Check{Name: "image", Expected: r.wanted, Found: report.Digest, Status: passed}
	same, err := environment.Same(r.wanted, report.Digest, func() ([]string, error) { return r.childrenOfWanted(ctx, report) })
	if err != nil {
		return check, err
	}
	if !same {
		check.Status = failed
		check.Found = fmt.Sprintf("%s is %s instead of %s", r.StreamTag, environment.OrNothing(report.Digest), r.wanted)
		if report.Named != "" {
			check.Found = fmt.Sprintf("the pod templates have %s instead of %s", cmp.Or(report.Digest, "no digest in common"), r.wanted)
		}
	}
	return check, nil
}

// childrenOfWanted returns the digests of the images of what is expected, an index: in Legacy mode a tag means one of
// them. They are looked up under EXPECT_IMAGE, or where the tag's own image comes from.
func (r *run) childrenOfWanted(ctx context.Context, report *Report) ([]string, error) {
	repository := r.repository
	if repository == nil && len(report.History) > 0 {
		repository, _ = r.sourceOf(report.History[0].Reference)
	}
	if repository == nil && report.Named != "" && len(report.Workloads) > 0 {
		repository, _ = r.sourceOf(report.Workloads[0].Image)
	}
	if repository == nil {
		if report.ImportMode != imagestream.PreserveOriginal && report.Named == "" {
			report.hint = "If EXPECT_DIGEST is of an image for several platforms, of which the tag means one, set REGISTRY to " +
				"the registry that the tag is imported from, so that it can be looked into."
		}
		return nil, nil
	}
	manifest, present, err := repository.Lookup(ctx, r.wanted)
	if err != nil || !present {
		return nil, err
	}
	return environment.ChildrenOf(manifest), nil
}

// sourceOf returns the repository of a reference, HOST/NAME:VERSION or HOST/NAME@DIGEST, and the version; nil where that
// is not in REGISTRY.
func (r *run) sourceOf(reference string) (repository *registry.Repository, version string) {
	name := r.nameOf(reference)
	if name == "" {
		return nil, ""
	}
	_, version, _ = image.SplitReference(reference)
	return r.registry.Repository(name), version
}

// nameOf returns the image name of a reference, CODE/NAME; "" where that is not in REGISTRY.
func (r *run) nameOf(reference string) string {
	if r.registry == nil {
		return ""
	}
	address, _, _ := image.SplitReference(reference)
	name, found := strings.CutPrefix(address, r.registry.Address()+"/")
	if !found {
		return ""
	}
	return name
}

// checkRegistry finds drift: the registry now holds another image under the version than the one that is expected.
func (r *run) checkRegistry(ctx context.Context, report *Report) (Check, error) {
	parsed, err := image.Parse(r.ExpectImage)
	if err != nil {
		return Check{}, err
	}
	manifest, err := r.repository.Resolve(ctx, parsed.Version)
	if err != nil {
		return Check{}, err
	}
	reference, now := r.repository.Reference(parsed.Version), manifest.Digest.String()
	check := Check{Name: "registry", Expected: reference + " is " + r.wanted, Found: now, Status: passed}
	if now != r.wanted {
		check.Status = failed
		check.Found = fmt.Sprintf("%s was moved: it is %s now instead of %s", reference, now, r.wanted)
		return check, nil
	}
	if report.TaggedFrom != reference && report.Named == "" {
		check.Found += ", tagged from " + report.TaggedFrom
	}
	return check, nil
}

// checkSource finds drift without EXPECT_IMAGE: whether the version that the tag was imported from still is that image.
// Where nothing is expected, a registry that cannot be read is no reason not to describe the rest.
func (r *run) checkSource(ctx context.Context, report *Report) (Check, error) {
	check := Check{Name: "registry", Expected: report.TaggedFrom + " is " + report.Digest, Status: skipped}
	repository, version := r.sourceOf(report.TaggedFrom)
	if report.Named != "" && report.Digest == "" {
		check.Found = "the pod templates have no digest in common"
		return check, nil
	}
	if version == "" {
		check.Found = "the tag does not point at a version in REGISTRY"
		if report.Named != "" {
			check.Found = "which version in REGISTRY the workloads were set to is not known"
		}
		return check, nil
	}
	manifest, err := repository.Resolve(ctx, version)
	if fault.KindOf(err) == fault.NotFound {
		check.Status, check.Found = failed, report.TaggedFrom+" is not in the registry"
		return check, nil
	}
	if err != nil {
		check.Found = err.Error()
		if r.judges() || ctx.Err() != nil {
			return check, err
		}
		return check, nil
	}
	check.Status, check.Found = passed, manifest.Digest.String()
	if now := manifest.Digest.String(); now != report.Digest && !slices.Contains(environment.ChildrenOf(manifest), report.Digest) {
		check.Status = failed
		check.Found = fmt.Sprintf("%s was moved after the import: it is %s now", report.TaggedFrom, manifest.Digest)
		if report.Named != "" {
			check.Found = fmt.Sprintf("%s was moved since it was set: it is %s now", report.TaggedFrom, manifest.Digest)
		}
	}
	return check, nil
}

func checkTemplates(report *Report) Check {
	check := Check{Name: "workloads", Expected: "every workload that follows the tag is rolled out", Status: passed}
	if report.Named != "" {
		check.Expected = "every workload that is named is rolled out"
	}
	var found []string
	for _, f := range report.Workloads {
		if f.Phase != workload.Complete {
			check.Status = failed
		}
		found = append(found, fmt.Sprintf("%s: %s, %s", f.Workload, f.Phase, f.Message))
	}
	if len(found) == 0 {
		check.Status, found = skipped, []string{"no workload follows the tag"}
	}
	check.Found = strings.Join(found, "; ")
	return check
}

func checkPods(report *Report) Check {
	check := Check{Name: "pods", Expected: "every pod runs " + environment.Short(report.Digest), Status: passed}
	if report.Named != "" {
		check.Expected = "every pod runs what its template has"
	}
	digests := append([]string{report.Digest}, report.children...)
	var others []string
	count := 0
	for _, f := range report.Workloads {
		if report.Named != "" {
			digests = templateDigests(report, f)
		}
		for _, pod := range f.Pods {
			if pod.Leaving {
				continue
			}
			count++
			if len(digests) > 0 && !pod.Runs(digests) {
				others = append(others, fmt.Sprintf("%s runs %s%s", pod.Name, environment.OrNothing(environment.Short(pod.Digest)), trouble(pod)))
			} else if !pod.Ready {
				others = append(others, pod.Name+" is not ready"+trouble(pod))
			}
		}
	}
	switch {
	case len(others) > 0:
		check.Status, check.Found = failed, strings.Join(slices.Compact(others), "; ")
	case count == 0:
		check.Status, check.Found = skipped, "there are no pods"
	default:
		check.Found = fmt.Sprintf("%d of %d", count, count)
	}
	return check
}

func trouble(pod workload.Pod) string {
	if pod.Trouble == "" {
		return ""
	}
	return " (" + pod.Trouble + ")"
}
