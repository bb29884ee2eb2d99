// Command imageapi is the small cluster of the demo as a program: the API on one loopback port, the routes of its
// services on another, and their pods as processes of this machine. It prints two lines, "api URL" and "router URL",
// as soon as both answer, and ends by SIGTERM or SIGINT, with everything that it has started.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"dockline/e2e/imageapi"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "imageapi:", err)
		os.Exit(1)
	}
}

// settings are the program's flags. The administrator's token is in the variable ADMIN_TOKEN.
type settings struct {
	api, router, namespaces, users, registryCA, insecure, domain string

	certificate, key, dir, runner       string
	schedule, importDelay, triggerDelay time.Duration
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("imageapi", flag.ContinueOnError)
	flags.StringVar(&s.api, "listen", "127.0.0.1:0", "loopback address of the API; port 0 chooses one")
	flags.StringVar(&s.router, "router", "127.0.0.1:0", "loopback address of the routes: by Host, or as /NAMESPACE/ROUTE/")
	flags.StringVar(&s.namespaces, "namespaces", "", "namespaces to begin with, separated by commas")
	flags.StringVar(&s.users, "users", "", "YAML file with a list of users: token, name, rules (verbs, resources, namespaces, names)")
	flags.StringVar(&s.certificate, "certificate", "", "TLS certificate of the API (PEM); empty means plain http")
	flags.StringVar(&s.key, "key", "", "the certificate's key (PEM)")
	flags.StringVar(&s.registryCA, "registry-ca", "", "PEM file with certificates to trust in registries")
	flags.StringVar(&s.insecure, "insecure-registries", "", "registries that the node reads over plain http, separated by commas")
	flags.StringVar(&s.domain, "route-domain", "apps.test", "domain of the routes' hosts")
	flags.StringVar(&s.runner, "runner", "process", "process: run the pods; none: only pretend")
	flags.StringVar(&s.dir, "dir", "", "folder for the files of the pods; empty means a temporary one")
	flags.DurationVar(&s.schedule, "schedule", 15*time.Minute, "time between two imports of a scheduled tag")
	flags.DurationVar(&s.importDelay, "import-delay", 200*time.Millisecond, "time between the write of a tag and its import")
	flags.DurationVar(&s.triggerDelay, "trigger-delay", time.Second, "time between the move of a tag and the write of a template")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.runner != "process" && s.runner != "none" {
		return s, fmt.Errorf("-runner %q: it is process or none", s.runner)
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	options, cleanUp, err := s.options()
	if err != nil {
		return err
	}
	defer cleanUp()
	api, err := imageapi.Listen(s.api)
	if err != nil {
		return err
	}
	defer api.Close()
	routes, err := imageapi.Listen(s.router)
	if err != nil {
		return err
	}
	defer routes.Close()

	cluster := imageapi.New(options)
	defer cluster.Close()
	scheme := "http"
	if s.certificate != "" {
		certificate, err := tls.LoadX509KeyPair(s.certificate, s.key)
		if err != nil {
			return err
		}
		scheme = "https"
		api = tls.NewListener(api, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	fmt.Fprintf(stdout, "api %s://%s\nrouter http://%s\n", scheme, api.Addr(), routes.Addr())
	return serve(ctx, map[net.Listener]http.Handler{api: cluster, routes: cluster.Router()})
}

// serve answers on all listeners until ctx ends or one of them fails.
func serve(ctx context.Context, handlers map[net.Listener]http.Handler) error {
	failed := make(chan error, len(handlers))
	var servers sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	for listener, handler := range handlers {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
		context.AfterFunc(ctx, func() { _ = server.Close() }) // watches would never end by themselves
		servers.Go(func() { failed <- server.Serve(listener) })
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	stop()
	servers.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s settings) options() (options imageapi.Options, cleanUp func(), err error) {
	options = imageapi.Options{
		ImportDelay: s.importDelay, TriggerDelay: s.triggerDelay, ScheduleInterval: s.schedule, RouteDomain: s.domain,
		Log: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
		},
	}
	if token := os.Getenv("ADMIN_TOKEN"); token != "" {
		options.Users = append(options.Users, imageapi.User{Token: token, Name: "admin", Rules: imageapi.Admin})
	}
	if s.users != "" {
		data, err := os.ReadFile(s.users)
		if err != nil {
			return options, nil, err
		}
		var users []imageapi.User
		if err := yaml.UnmarshalStrict(data, &users); err != nil {
			return options, nil, fmt.Errorf("reading %q: %w", s.users, err)
		}
		options.Users = append(options.Users, users...)
	}
	if len(options.Users) == 0 {
		return options, nil, fmt.Errorf("nobody could come in: set ADMIN_TOKEN, or -users")
	}
	options.Namespaces = split(s.namespaces)
	if s.registryCA != "" {
		if options.RegistryCA, err = os.ReadFile(s.registryCA); err != nil {
			return options, nil, err
		}
	}
	cleanUp = func() {}
	if s.runner == "none" {
		return options, cleanUp, nil
	}
	dir := s.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "imageapi-"); err != nil {
			return options, nil, err
		}
		cleanUp = func() { _ = os.RemoveAll(dir) }
	}
	options.Runner = &imageapi.ProcessRunner{
		Dir: dir, RegistryCA: options.RegistryCA, Insecure: split(s.insecure), Output: os.Stderr,
	}
	return options, cleanUp, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
