package git_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"dockline/e2e/gitserver"
	"dockline/pkg/git"
)

func ExampleClone() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	repository := filepath.Join(dir, "hello.git")
	if _, err := gitserver.Commit(repository, "main", "Say hello", gitserver.Text(map[string]string{"page": "Hello"})); err != nil {
		panic(err)
	}

	checkout, err := git.Clone(context.Background(), git.Options{
		URL: repository, Revision: "main", Dir: filepath.Join(dir, "work"), AllowLocal: true,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(checkout.Branch, checkout.Subject, checkout.Time.Year())
	// Output: main Say hello 2024
}
