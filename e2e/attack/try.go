package attack

import (
	"fmt"
	"os"
)

// try is an attack as a RUN does it. Evidence is what it has got, "" for nothing; why says what it met.
type try func(g Given) (evidence, why string)

// later is a try that is judged after the RUN.
type later func(g Given) error

var (
	tries = map[string]try{
		"environ": environ, "mem": memory, "thread-mem": threadMemory, "fd": openFiles, "root": roots, "cwd": folders,
		"maps": maps, "ptrace": seize, "vm-readv": readMemory, "pidfd-getfd": copyFiles, "file-capability": regain,
		"onbuild": above, "kaniko-config": kanikoConfig, "home": home, "git-config": gitConfig, "git-copied": gitCopied,
		"gitlab-files": gitlabFiles, "service-account": serviceAccount, "tekton-creds": tektonCreds,
		"build-secret": otherBuildSecret, "pull": pull, "push": push, "packet-socket": packetSocket,
		"raw-socket": rawSocket, "log-around": aroundTheOutput, "core-pattern": corePattern, "mount": mountSomething,
	}
	laters = map[string]later{
		"hosts": rewriteHosts, "daemon": leaveDaemon, "results-overwritten": leaveDaemon, "results-link": linkResult,
		"results-of-a-failure": forgeResult, "layout": leaveForger, "program-replaced": replaceProgram,
		"program-added": addProgram, "program-removed": removeProgram, "path": addToPath, "shell": replaceShell,
		"certificate": addCertificate, "base-link": throughLink, "log-escape": escape, "log-section": sectionMark,
		"log-return": carriageReturn, "log-forged": forgeLine, "log-secret": printSecret,
		"log-secret-base64": printBase64, "log-secret-coloured": printColoured,
	}
)

// Run does what the words say, inside of the container, and returns the exit status:
//
//	GIVEN NAME…      tries the attacks, in a RUN
//	GIVEN judge      says which of those that were left for later have succeeded, after the step
//	GIVEN be-daemon  is what some of them leave running; there are others of its kind
//	GIVEN regained   is a program that was given capabilities
func Run(words []string) int {
	given, err := parseGiven(words[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	role, found := map[string]func(){
		judged:   func() { judge(given) },
		beDaemon: func() { daemon(given, func() {}) },
		beForger: func() { daemon(given, forgeLayouts) },
		beAside: func() {
			go listenAside(given)
			daemon(given, func() {})
		},
		regained: func() { tell("file-capability", above, given) },
	}[words[1]]
	if found {
		role()
		return 0
	}
	for _, name := range words[1:] {
		if one, known := tries[name]; known {
			tell(name, one, given)
			continue
		}
		one, known := laters[name]
		if !known {
			fmt.Fprintf(os.Stderr, "there is no attack %q\n", name)
			return 2
		}
		if err := one(given); err != nil {
			fmt.Println("ATTACK", name, "LOST", err)
			continue
		}
		fmt.Println("ATTACK", name, "TRIED")
	}
	return 0
}

func tell(name string, one try, given Given) {
	evidence, why := one(given)
	if evidence != "" {
		fmt.Println("ATTACK", name, "WON", evidence)
		return
	}
	fmt.Println("ATTACK", name, "LOST", why)
}
