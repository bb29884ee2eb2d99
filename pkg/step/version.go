package step

import "runtime/debug"

// version is set when a release is linked: -ldflags "-X dockline/pkg/step.version=1.2.3".
var version string

// Version returns the release, else the commit that the program was built from, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return "devel-" + setting.Value
			}
		}
	}
	return "devel"
}
