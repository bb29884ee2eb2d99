package step

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

//go:embed common.go
var commonSource string

//go:embed registry.go
var registrySource string

//go:embed cluster.go
var clusterSource string

var ownSource = []string{commonSource, registrySource, clusterSource}

// comments returns the doc comments of all struct fields in Go source texts, by "Type.Field". The comments are thereby
// the one place where a variable's meaning is written: for the reader of the code, for --help and for docs/.
func comments(shared []string, own string) map[string]string {
	docs := map[string]string{}
	for _, source := range append([]string{own}, shared...) {
		if source == "" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			panic("step: the embedded source of a configuration does not parse: " + err.Error())
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range fields.Fields.List {
					for _, name := range field.Names {
						docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
					}
				}
			}
			return false
		})
	}
	return docs
}
