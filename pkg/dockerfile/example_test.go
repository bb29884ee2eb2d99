package dockerfile_test

import (
	"fmt"

	"dockline/pkg/dockerfile"
)

func ExampleCheck() {
	source := "ARG BASE=registry.example.com/base:1\nFROM $BASE\nRUN --network=none make test\n"
	_, err := dockerfile.Check([]byte(source), dockerfile.Options{})
	fmt.Println(err)

	plan, _ := dockerfile.Check([]byte("ARG BASE=registry.example.com/base:1\nFROM $BASE\n"), dockerfile.Options{})
	fmt.Println(plan.Images)
	// Output:
	// Dockerfile:3: RUN --network=none: the command would have the network all the same, since a build has no right to take it away
	// [registry.example.com/base:1]
}
