// Package step is what the four step programs share: configuration from the environment, logging and masking,
// results and reports, errors and exit statuses, signals. It alone knows the environment, Tekton's and GitLab's files.
package step
