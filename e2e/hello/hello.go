// Package hello holds the sample service, as a team would keep it in Git.
package hello

import "embed"

// Files are the directories hello_v1.0 and hello_v1.1.
//
//go:embed hello_v1.0 hello_v1.1
var Files embed.FS
