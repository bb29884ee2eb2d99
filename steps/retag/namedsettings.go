package retag

import (
	"errors"

	"dockline/pkg/step"
)

// validateWorkloads returns what does not go with WORKLOADS, or without it.
func (c *Config) validateWorkloads() error {
	if c.Workloads == "" {
		if len(c.TakeOverFrom) > 0 {
			return step.Problem("TAKE_OVER_FROM is set: it goes with WORKLOADS only")
		}
		return nil
	}
	var problems []error
	for _, variable := range []struct {
		name string
		set  bool
	}{
		{"IMPORT_SCHEDULED", c.ImportScheduled != ""},
		{"IMPORT_INSECURE", c.ImportInsecure != ""},
		{"REFERENCE_POLICY", c.ReferencePolicy != ""},
		{"IMPORT_MODE", c.ImportMode != ""},
		{"CREATE_APP", c.CreateApp},
		{"APP_NAME", c.AppName != ""},
		{"ROLLBACK_TO", c.RollbackTo != ""},
	} {
		if variable.set {
			problems = append(problems, step.Problem("%s is set: it is about image streams, and does not go with WORKLOADS", variable.name))
		}
	}
	if c.ExpectCurrent == none {
		problems = append(problems, step.Problem("EXPECT_CURRENT: none does not go with WORKLOADS, whose pod templates always have an image"))
	}
	return errors.Join(problems...)
}
