package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// document is one YAML document of a file.
type document struct {
	path string
	text []byte
}

// documents returns the YAML documents of all files in a folder.
func documents(dir string) ([]document, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("there is no YAML file in %s", dir)
	}
	var all []document
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(content)))
		for {
			text := make([]byte, len(content)+1)
			n, err := reader.Read(text)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			all = append(all, document{path, text[:n]})
		}
	}
	return all, nil
}
