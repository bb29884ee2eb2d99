package verify_test

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSecretsInTheAddress has a page's address with what must not show: in the log, the table or a report.
func TestSecretsInTheAddress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, url string
		stop      bool
		status    int
		last      string
	}{
		{"an account", "http://S3CRETtoken@HOST/", false, 2, "URL holds an account"},
		{"an account with a password", "http://me:S3CRETpassword@HOST/", false, 2, "URL holds an account"},
		{"an account that does not parse", "http://me:S3CRET%zz@HOST/", false, 2, "URL is no address"},
		{"a parameter", "http://HOST/x?t=S3CRETtoken", false, 8, "answers 404"},
		{"a parameter, and nobody answers", "http://HOST/x?t=S3CRETtoken", true, 8, "connection refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if row.stop {
				w.page.Close()
			}
			got := w.run(t, "URL="+strings.ReplaceAll(row.url, "HOST", strings.TrimPrefix(w.page.URL, "http://")))
			if got.status != row.status || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d, want %d; the last line must say %q:\n%s", got.status, row.status, row.last, got.log)
			}
			said := got.log + got.said
			for _, name := range []string{"verify.json", "verify.xml", "verify.html", "verify.md"} {
				content, _ := os.ReadFile(filepath.Join(got.reports, name))
				said += string(content)
			}
			if strings.Contains(said, "S3CRET") {
				t.Errorf("the secret shows in\n%s", said)
			}
		})
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says = `<script>alert("1")</script>`
	w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
	stream := w.cluster.Get("imagestreams", "hello-app")
	for _, item := range stream["status"].(map[string]any)["tags"].([]any)[0].(map[string]any)["items"].([]any) {
		item.(map[string]any)["created"] = "2020-01-02T03:04:05Z" // so that the age is no matter of how fast this runs
	}
	w.cluster.Put("imagestreams", "hello-app", stream)
	got := w.run(t, "EXPECT_DIGEST="+w.d10, "URL="+w.page.URL, "EXPECT_TEXT=version 1.0")
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(got.reports, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	var report struct {
		Verdict, TaggedFrom, Digest string
		History                     []struct{ Digest string }
		Checks                      []struct{ Name, Status string }
	}
	if err := json.Unmarshal(read("verify.json"), &report); err != nil {
		t.Fatal(err)
	}
	var checks []string
	for _, check := range report.Checks {
		checks = append(checks, check.Name+" "+check.Status)
	}
	if diff := cmp.Diff([]string{"import ok", "image wrong", "workloads ok", "pods ok", "page wrong"}, checks); diff != "" {
		t.Errorf("checks (-want +got)\n%s", diff)
	}
	if report.Verdict != "wrong" || report.Digest != w.d11 || len(report.History) != 2 || report.TaggedFrom != w.reference("1.1") {
		t.Errorf("the report is %+v", report)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal(read("verify.xml"), &suite); err != nil || suite.Tests != 5 || suite.Failures != 2 {
		t.Errorf("JUnit has %+v (%v)", suite, err)
	}
	page := string(read("verify.html"))
	if strings.Contains(page, "<script") || !strings.Contains(page, "is not right") || !strings.Contains(page, w.d11) {
		t.Errorf("the page is\n%s", page)
	}
	for _, word := range []string{w.reference("1.1"), w.d11, " days ago", "wrong"} {
		if !strings.Contains(got.said, word) {
			t.Errorf("the table lacks %q:\n%s", word, got.said)
		}
	}
}
