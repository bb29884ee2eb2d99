// Command registry is the real registry that the demo pushes to and promotes between: distribution/distribution with
// its files in a folder and one account's password, started as a program of its own.
//
// It is a module of its own, so that what a registry server needs does not enter the module graph of the programs
// that are shipped.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"golang.org/x/crypto/bcrypt"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root := flag.String("root", "", "folder for the registry's files")
	listen := flag.String("listen", "127.0.0.1:0", "loopback address to listen on; port 0 chooses one")
	username := flag.String("username", "", "the account; its password is in the variable PASSWORD")
	certificate := flag.String("certificate", "", "TLS certificate (PEM); empty means plain http")
	key := flag.String("key", "", "the certificate's key (PEM)")
	flag.Parse()

	config, err := configure(*root, *username, os.Getenv("PASSWORD"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handlers.NewApp(ctx, config), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	// Whoever started the program reads the address from its first line.
	fmt.Println(listener.Addr())
	if *certificate != "" {
		err = server.ServeTLS(listener, *certificate, *key)
	} else {
		err = server.Serve(listener)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// configure writes the password file beside the registry's files and returns the registry's configuration.
func configure(root, username, password string) (*configuration.Configuration, error) {
	if root == "" || username == "" || password == "" {
		return nil, fmt.Errorf("-root, -username and the variable PASSWORD are needed")
	}
	// The least cost: the password lives as long as the demo.
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	passwords := filepath.Join(root, "htpasswd")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(passwords, fmt.Appendf(nil, "%s:%s\n", username, hash), 0o600); err != nil {
		return nil, err
	}
	config := &configuration.Configuration{
		Version: configuration.MajorMinorVersion(0, 1),
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": filepath.Join(root, "data")},
			"delete":     configuration.Parameters{"enabled": true},
		},
		Auth: configuration.Auth{"htpasswd": configuration.Parameters{"realm": "registry", "path": passwords}},
	}
	config.Catalog.MaxEntries = 1000 // as when the configuration is read from a file; 0 lists no repository
	config.Log.Level = "error"
	config.Log.AccessLog.Disabled = true
	config.HTTP.Secret = password // signs upload sessions; one process, so any value does
	return config, nil
}
