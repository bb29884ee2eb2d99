// Package attack is what a hostile Dockerfile or base image can try against the process that builds it: on credentials,
// results, programs and logs. Each attack is a row of a table, and a function that a RUN calls by the program e2e/probe. The
// same attack beside the plain Kaniko executor, in the same kind of container, is its control: there it must succeed.
//
// An attack says how it went by a line "ATTACK NAME WON …" or "ATTACK NAME LOST …". Of one that is judged later, by a
// command after the step or from outside, the RUN says "ATTACK NAME TRIED".
package attack

// Kind is a kind of container.
type Kind string

// The kinds of containers, by the words of the table.
const (
	Sandbox    Kind = "sandbox"             // the tests' own, with a default container's capabilities
	Docker     Kind = "Docker's default"    // docker run
	GitLab     Kind = "GitLab's shell"      // the runner's shell above it
	Tekton     Kind = "Tekton's entrypoint" // Tekton's program above it
	Privileged Kind = "privileged"          // every capability: nothing is built there
)

// Kinds are the columns of the table.
var Kinds = []Kind{Sandbox, Docker, GitLab, Tekton, Privileged}

// Attack is one row of the table.
type Attack struct {
	Name  string
	Tries string
	Gets  string
	Kinds []Kind // in which it is tried, its control included
	Note  string // why not in the others
}

// group is a kind of target, in the table's order.
type group struct {
	Name    string
	Attacks []Attack
}

// everywhere is for attacks whose control succeeds in every kind of container.
var everywhere = Kinds

// groups is the table.
var groups = []group{
	{"the processes above the RUN", []Attack{
		{Name: "environ", Kinds: everywhere, Tries: "reads `/proc/PID/environ` of every process", Gets: "each variable of the step and of the shell above it"},
		{Name: "mem", Kinds: everywhere, Tries: "reads `/proc/PID/mem` of every process", Gets: "each secret that was read from a file, too"},
		{Name: "thread-mem", Kinds: everywhere, Tries: "reads `/proc/PID/task/TID/mem` of every other thread, which the kernel judges by its own capabilities", Gets: "the same"},
		{Name: "fd", Kinds: everywhere, Tries: "opens the files that other processes hold open (`/proc/PID/fd`)", Gets: "a secret whose file was removed"},
		{Name: "root", Kinds: everywhere, Tries: "follows `/proc/PID/root`", Gets: "files that another process sees, and the RUN does not"},
		{Name: "cwd", Kinds: everywhere, Tries: "follows `/proc/PID/cwd`", Gets: "the same"},
		{Name: "maps", Kinds: everywhere, Tries: "reads `/proc/PID/maps`", Gets: "where in memory to look, and what to overwrite"},
		{Name: "ptrace", Kinds: everywhere, Tries: "attaches as a debugger (`PTRACE_SEIZE`)", Gets: "memory and registers, to read and to change"},
		{Name: "vm-readv", Kinds: []Kind{Sandbox, Privileged}, Tries: "reads memory by `process_vm_readv`", Gets: "memory, without `/proc`",
			Note: "Docker's seccomp profile forbids the call"},
		{Name: "pidfd-getfd", Kinds: []Kind{Sandbox, Privileged}, Tries: "copies open files by `pidfd_getfd`", Gets: "sockets and pipes as well",
			Note: "Docker's seccomp profile forbids the call"},
		{Name: "file-capability", Kinds: everywhere, Tries: "gives a program back, as file capabilities, what the build has given up", Gets: "equality with the step, and so all of the above"},
		{Name: "dump", Kinds: []Kind{Sandbox, GitLab}, Tries: "ends the shell by a signal that has the kernel write its memory into a file, and raises the limit of it before", Gets: "the shell's variables",
			Note: "the container's first process cannot be ended so"},
		{Name: "onbuild", Kinds: everywhere, Tries: "does as environ and mem by a base image's `ONBUILD`, which no Dockerfile shows", Gets: "the same"},
	}},
	{"files with credentials", []Attack{
		{Name: "kaniko-config", Kinds: everywhere, Tries: "reads `/kaniko/.docker/config.json`", Gets: "the registry's password"},
		{Name: "home", Kinds: everywhere, Tries: "reads `.netrc`, `.git-credentials`, `.ssh`, `.docker` at home", Gets: "passwords for Git and registries"},
		{Name: "git-config", Kinds: everywhere, Tries: "reads `.git/config` of the work tree", Gets: "the token by which GitLab's runner cloned"},
		{Name: "git-copied", Kinds: everywhere, Tries: "has `COPY .` take `.git` along", Gets: "the token and all of the history, in the image"},
		{Name: "gitlab-files", Kinds: everywhere, Tries: "reads GitLab's file variables beside the work tree", Gets: "keys and kubeconfigs"},
		{Name: "service-account", Kinds: everywhere, Tries: "reads the ServiceAccount's token", Gets: "the rights of the pod's account on the cluster"},
		{Name: "tekton-creds", Kinds: everywhere, Tries: "reads what Tekton has copied into `/tekton/creds`", Gets: "passwords for Git and registries"},
		{Name: "build-secret", Kinds: everywhere, Tries: "looks in all files and processes for a build secret that another RUN mounts", Gets: "a secret that this RUN was not given"},
	}},
	{"the network", []Attack{
		{Name: "pull", Kinds: everywhere, Tries: "pulls a repository that the Dockerfile does not name, with what it finds in files, and through each proxy on loopback with guessed passwords", Gets: "other teams' images"},
		{Name: "push", Kinds: everywhere, Tries: "opens an upload in the registry, likewise", Gets: "the right to write any tag"},
		{Name: "packet-socket", Kinds: everywhere, Tries: "opens a packet socket", Gets: "what the step sends: passwords over plain http"},
		{Name: "raw-socket", Kinds: everywhere, Tries: "opens a raw socket for TCP", Gets: "what the step receives"},
		{Name: "hosts", Kinds: everywhere, Tries: "rewrites `/etc/hosts`, and leaves a server that asks who comes for a password", Gets: "the registry's password, sent by the push itself"},
	}},
	{"the results", []Attack{
		{Name: "daemon", Kinds: everywhere, Tries: "leaves a daemon in a session of its own", Gets: "time after the step: all that comes then"},
		{Name: "results-overwritten", Kinds: everywhere, Tries: "has the daemon overwrite the digest that the step hands on", Gets: "another image deployed"},
		{Name: "results-link", Kinds: everywhere, Tries: "puts a link in a result's place", Gets: "any file of the container overwritten"},
		{Name: "results-of-a-failure", Kinds: everywhere, Tries: "writes a result and fails", Gets: "a result of a build that has none"},
		{Name: "layout", Kinds: everywhere, Tries: "has a daemon replace the built image's files before they are pushed", Gets: "another image pushed than was built"},
	}},
	{"the programs that come after the step", []Attack{
		{Name: "program-replaced", Kinds: everywhere, Tries: "overwrites a program below `/kaniko/bin`", Gets: "the next line of the script, with all of its variables"},
		{Name: "program-added", Kinds: everywhere, Tries: "adds a program below `/kaniko/bin`, where PATH looks first", Gets: "the same"},
		{Name: "program-removed", Kinds: everywhere, Tries: "removes a program, and puts its own where PATH looks next", Gets: "the same"},
		{Name: "path", Kinds: everywhere, Tries: "puts a `promote` into `/usr/local/bin`", Gets: "the same"},
		{Name: "shell", Kinds: everywhere, Tries: "replaces `/kaniko/busybox/sh`", Gets: "the same"},
		{Name: "certificate", Kinds: everywhere, Tries: "adds a CA to those that the programs trust", Gets: "a false registry that is believed"},
		{Name: "base-link", Kinds: everywhere, Tries: "has a base image's layer lead to `/kaniko` by a symbolic link, and put a program there", Gets: "the next line of the script, without any RUN"},
	}},
	{"the log", []Attack{
		{Name: "log-escape", Kinds: everywhere, Tries: "prints sequences that move the cursor and erase lines", Gets: "a log that shows what never was"},
		{Name: "log-section", Kinds: everywhere, Tries: "prints GitLab's marks of sections", Gets: "lines of the step's own hidden in a section that is shut"},
		{Name: "log-return", Kinds: everywhere, Tries: "prints a carriage return, and other words over the line", Gets: "the same"},
		{Name: "log-forged", Kinds: everywhere, Tries: "prints a line as the builder prints its own", Gets: "a push believed that never was"},
		{Name: "log-around", Kinds: everywhere, Tries: "writes to the output of a process above it (`/proc/PID/fd/1`)", Gets: "all that, past whoever watches the RUN's own output"},
		{Name: "log-secret", Kinds: everywhere, Tries: "prints a build secret that it was given", Gets: "the secret, for all who may read the log"},
		{Name: "log-secret-base64", Kinds: everywhere, Tries: "prints it in base64", Gets: "the same"},
		{Name: "log-secret-coloured", Kinds: everywhere, Tries: "prints it with a colour in its midst", Gets: "the same"},
	}},
	{"the machine", []Attack{
		{Name: "core-pattern", Kinds: []Kind{Privileged}, Tries: "opens `/proc/sys/kernel/core_pattern` for writing", Gets: "a program of its own run by the machine", Note: "engines mount it read-only but in privileged containers"},
		{Name: "mount", Kinds: []Kind{Privileged}, Tries: "mounts a file system", Gets: "the machine's disks and control groups", Note: "only privileged containers may"},
	}},
}

// All lists the attacks in the table's order.
func All() []Attack {
	var all []Attack
	for _, group := range groups {
		all = append(all, group.Attacks...)
	}
	return all
}
