// Command hello is the service that the node's test runs: it says what its environment, its files and its user are.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	if os.Getenv("CRASH") != "" {
		fmt.Fprintln(os.Stderr, "no database to be found")
		os.Exit(3)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		message, err := os.ReadFile(os.Getenv("ROOT") + "/srv/message")
		fmt.Fprintf(w, "version %s, %s, %v, path %s, pid %d", os.Getenv("V"), message, err, r.URL.Path, os.Getpid())
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
