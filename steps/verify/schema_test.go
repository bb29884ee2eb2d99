package verify_test

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is docs/verify.schema.json, closed: what a reader is to let pass, a member that is not described, is refused
// here, so that the schema cannot fall behind the report.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	text, err := os.ReadFile("../../docs/verify.schema.json")
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	closed(document)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("verify.schema.json", document); err != nil {
		return nil, err
	}
	return compiler.Compile("verify.schema.json")
})

// closed forbids members that are not described, at any depth.
func closed(node any) {
	switch node := node.(type) {
	case map[string]any:
		for _, child := range node {
			closed(child)
		}
		if _, ok := node["properties"].(map[string]any); ok && node["type"] == "object" {
			node["additionalProperties"] = false
		}
	case []any:
		for _, child := range node {
			closed(child)
		}
	}
}

// valid fails the test unless the schema describes the report.
func valid(t *testing.T, report []byte) {
	t.Helper()
	if err := conforms(report); err != nil {
		t.Errorf("docs/verify.schema.json does not describe the report: %v\n%s", err, report)
	}
}

func conforms(report []byte) error {
	schema, err := schema()
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	if err != nil {
		return err
	}
	return schema.Validate(document)
}

// TestSchemaRefuses has the schema notice what a report must not be.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	report := `{"verdict":"right","namespace":"dev","streamTag":"a:b","time":"2026-01-02T03:04:05Z","scheduled":false,` +
		`"history":null,"workloads":null,"checks":[{"name":"image","status":"ok","expected":"","found":""}]}`
	if err := conforms([]byte(report)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, old, new string }{
		{"another verdict", `"right"`, `"fine"`},
		{"no verdict", `"verdict":"right",`, ``},
		{"no time", `2026-01-02T03:04:05Z`, `yesterday`},
		{"an unknown check", `"image"`, `"weather"`},
		{"a check that ended otherwise", `"ok"`, `"perhaps"`},
		{"an unknown member", `"scheduled"`, `"mood":"good","scheduled"`},
		{"a digest that is none", `"scheduled"`, `"digest":"sha256:12","scheduled"`},
	} {
		changed := strings.Replace(report, row.old, row.new, 1)
		if changed == report || conforms([]byte(changed)) == nil {
			t.Errorf("%s passes: %s", row.name, changed)
		}
	}
}
