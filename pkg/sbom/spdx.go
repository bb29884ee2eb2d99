package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// Type is the type of a list as an in-toto predicate (in-toto/attestation, "SPDX predicate").
const Type = "https://spdx.dev/Document"

// Image is what is known of an image.
type Image struct {
	Name     string  // HOST/CODE/NAME
	Tag      string  // its version
	Digest   v1.Hash // of the image of one platform
	Platform string
	Labels   map[string]string
	Sources  []Source
	Programs []Program
	Skipped  []string // files that may be programs, and were too large to be looked into
	Created  time.Time
	Tool     string // program and version
}

// Source is another image that an image was built from.
type Source struct {
	Name   string // as the Dockerfile has it
	URL    string // a package URL
	Digest string // "sha256:HEX"
	Base   bool   // the image is built on it; else something was copied out of it
}

const nothing = "NOASSERTION"

// List makes the SPDX document, version 2.3, of an image. It is the same for the same image, but for when it was made.
func List(of Image) *v2_3.Document {
	l := &list{known: map[string]bool{}, document: &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      of.Name + "@" + of.Digest.String(),
		DocumentNamespace: "https://dockline.example.com/spdx/" + of.Digest.Hex,
		CreationInfo: &v2_3.CreationInfo{
			Created:  of.Created.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: strings.ReplaceAll(of.Tool, " ", "-")}},
		},
		DocumentComment: comment(of),
	}}
	image := l.image(of)
	l.relate("DOCUMENT", common.TypeRelationshipDescribe, image)
	for _, source := range of.Sources {
		l.source(image, source)
	}
	for _, program := range of.Programs {
		l.program(image, program)
	}
	return l.document
}

func comment(of Image) string {
	text := "Without a scanner: the images that it was built from, its labels, and the modules of the Go programs in the layers that were built."
	if len(of.Skipped) > 0 {
		text += fmt.Sprintf(" Not looked into, being too large: %s.", strings.Join(of.Skipped, ", "))
	}
	return text
}

// list is a document in the making.
type list struct {
	document *v2_3.Document
	known    map[string]bool // packages, by identifier
}

func (l *list) image(of Image) common.ElementID {
	made := &v2_3.Package{
		PackageName: of.Name, PackageVersion: of.Tag, PackageSPDXIdentifier: "Image", PackageDownloadLocation: nothing,
		PackageChecksums:      []common.Checksum{{Algorithm: common.SHA256, Value: of.Digest.Hex}},
		PrimaryPackagePurpose: "CONTAINER", PackageLicenseConcluded: nothing, PackageLicenseDeclared: nothing,
		PackageCopyrightText: nothing,
		PackageExternalReferences: []*v2_3.PackageExternalReference{reference(
			"pkg:oci/" + last(of.Name) + "@" + url.QueryEscape(of.Digest.String()) +
				"?repository_url=" + url.QueryEscape(of.Name) + "&tag=" + url.QueryEscape(of.Tag))},
	}
	if of.Platform != "" {
		made.PackageComment = "Platform: " + of.Platform
	}
	if license := of.Labels["org.opencontainers.image.licenses"]; license != "" {
		made.PackageLicenseComments = "The image says: " + license
	}
	made.PackageHomePage = home(of.Labels["org.opencontainers.image.url"])
	for _, label := range slices.Sorted(maps.Keys(of.Labels)) {
		made.Annotations = append(made.Annotations, v2_3.Annotation{
			Annotator:      common.Annotator{AnnotatorType: "Tool", Annotator: l.document.CreationInfo.Creators[0].Creator},
			AnnotationDate: l.document.CreationInfo.Created, AnnotationType: "OTHER",
			AnnotationComment: "label " + label + "=" + of.Labels[label],
		})
	}
	return l.add(made)
}

func (l *list) source(image common.ElementID, source Source) {
	_, digest, _ := strings.Cut(source.Digest, ":")
	id := l.add(&v2_3.Package{
		PackageName: source.Name, PackageVersion: source.Digest, PackageSPDXIdentifier: identifier("Image", source.Name, source.Digest),
		PackageDownloadLocation: nothing, PrimaryPackagePurpose: "CONTAINER",
		PackageChecksums:        []common.Checksum{{Algorithm: common.SHA256, Value: digest}},
		PackageLicenseConcluded: nothing, PackageLicenseDeclared: nothing, PackageCopyrightText: nothing,
		PackageExternalReferences: []*v2_3.PackageExternalReference{reference(source.URL)},
	})
	if source.Base {
		l.relate(image, common.TypeRelationshipDescendantOf, id)
		return
	}
	l.relate(id, common.TypeRelationshipBuildDependencyOf, image)
}

func (l *list) program(image common.ElementID, program Program) {
	main := program.Build.Main
	if main.Path == "" {
		main.Path = program.Build.Path // of a program that is in no module, such as one of Go's own
	}
	id := l.add(&v2_3.Package{
		PackageName: main.Path, PackageVersion: main.Version, PackageFileName: program.Path,
		PackageSPDXIdentifier:   identifier("Program", program.Path, main.Path),
		PackageDownloadLocation: nothing, PrimaryPackagePurpose: "APPLICATION",
		PackageSourceInfo:       "Go build information of " + program.Path,
		PackageLicenseConcluded: nothing, PackageLicenseDeclared: nothing, PackageCopyrightText: nothing,
		PackageExternalReferences: []*v2_3.PackageExternalReference{reference(moduleURL(main.Path, main.Version))},
	})
	l.relate(image, common.TypeRelationshipContains, id)
	modules := []debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(program.Build.GoVersion, "go")}}
	for _, module := range program.Build.Deps {
		for module.Replace != nil {
			module = module.Replace
		}
		modules = append(modules, *module)
	}
	for _, module := range modules {
		l.relate(id, common.TypeRelationshipDependsOn, l.module(module))
	}
}

func (l *list) module(module debug.Module) common.ElementID {
	return l.add(&v2_3.Package{
		PackageName: module.Path, PackageVersion: module.Version,
		PackageSPDXIdentifier:   identifier("Module", module.Path, module.Version),
		PackageDownloadLocation: nothing, PrimaryPackagePurpose: "LIBRARY",
		PackageLicenseConcluded: nothing, PackageLicenseDeclared: nothing, PackageCopyrightText: nothing,
		PackageExternalReferences: []*v2_3.PackageExternalReference{reference(moduleURL(module.Path, module.Version))},
	})
}

// add adds a package, once.
func (l *list) add(made *v2_3.Package) common.ElementID {
	id := made.PackageSPDXIdentifier
	if !l.known[string(id)] {
		l.known[string(id)] = true
		l.document.Packages = append(l.document.Packages, made)
	}
	return id
}

func (l *list) relate(a common.ElementID, relationship string, b common.ElementID) {
	l.document.Relationships = append(l.document.Relationships, &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: a}, Relationship: relationship, RefB: common.DocElementID{ElementRefID: b},
	})
}

// identifier makes one of what tells a package from all others. It is of letters, digits, "." and "-" (section 3.2).
func identifier(kind string, parts ...string) common.ElementID {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return common.ElementID(kind + "-" + hex.EncodeToString(sum[:10]))
}

func reference(packageURL string) *v2_3.PackageExternalReference {
	return &v2_3.PackageExternalReference{
		Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: packageURL,
	}
}

// moduleURL is a package URL (purl-spec, type "golang").
func moduleURL(path, version string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	text := "pkg:golang/" + strings.Join(parts, "/")
	if version == "" || version == "(devel)" {
		return text
	}
	return text + "@" + url.PathEscape(version)
}

func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// home is an address, as far as the image says one.
func home(text string) string {
	if at, err := url.Parse(text); err == nil && at.Host != "" {
		return text
	}
	return ""
}
