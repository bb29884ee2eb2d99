package retag

import (
	"slices"
	"strings"

	"dockline/pkg/image"
	"dockline/pkg/imagestream"
)

// versionsAnnotation is the annotation on a tag that keeps which version its earlier images were: DIGEST=VERSION, parted by
// spaces, the newest first. The cluster's own history knows only digests, and the tag's spec only the present version; a
// registry would say what the version is now, and not what it was.
const versionsAnnotation = "dockline/versions"

// mostVersions bounds the annotation to some 3 kB; an object's may have 256 kB in all.
const mostVersions = 30

// versionsOf returns the versions that are known of the images of the history, by digest.
func versionsOf(tag imagestream.Tag) map[string][]string {
	versions := map[string][]string{}
	add := func(digest, version string) {
		if version != "" && image.CheckVersion(version) == nil && !slices.Contains(versions[digest], version) {
			versions[digest] = append(versions[digest], version)
		}
	}
	add(tag.Digest(), presentVersion(tag))
	for _, item := range tag.History {
		_, version, _ := image.SplitReference(item.Reference)
		add(item.Digest, version)
	}
	for _, entry := range strings.Fields(tag.Annotations[versionsAnnotation]) {
		digest, version, _ := strings.Cut(entry, "=")
		add(digest, version)
	}
	return versions
}

// presentVersion returns the version that the tag's present image was imported under, or "".
func presentVersion(tag imagestream.Tag) string {
	if tag.From.Kind != imagestream.DockerImage || tag.Failure != nil || !tag.Settled() || tag.Digest() == "" {
		return ""
	}
	_, version, _ := image.SplitReference(tag.From.Name)
	return version
}

// rememberVersion has a change keep on the tag which version it is moved away from.
func (r *run) rememberVersion(change *imagestream.Change) {
	version := presentVersion(r.before)
	if version == "" {
		return
	}
	entries := []string{r.before.Digest() + "=" + version}
	for _, entry := range strings.Fields(r.before.Annotations[versionsAnnotation]) {
		digest, _, _ := strings.Cut(entry, "=")
		inHistory := slices.ContainsFunc(r.before.History, func(i imagestream.Item) bool { return i.Digest == digest })
		if inHistory && !slices.Contains(entries, entry) && len(entries) < mostVersions {
			entries = append(entries, entry)
		}
	}
	annotate(change, strings.Join(entries, " "))
}

// restoreVersions has a change put back what was known before this run.
func (r *run) restoreVersions(change *imagestream.Change) {
	annotate(change, r.before.Annotations[versionsAnnotation])
}

func annotate(change *imagestream.Change, versions string) {
	if change.Annotations == nil {
		change.Annotations = map[string]string{}
	}
	change.Annotations[versionsAnnotation] = versions
}
