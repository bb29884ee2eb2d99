package kaniko

// ChildMain runs the build and exits, if this process is the child of a Build; else it returns at once. It is the
// first call of main, and in tests of TestMain.
func ChildMain() {}
