// Command bailiwick-worker-go serves one set of agents: the example or the conformance agent.
package main

import (
	"fmt"
	"os"

	"bailiwick.example/go/worker"
)

func main() {
	set := "example"
	if len(os.Args) > 1 {
		set = os.Args[1]
	}
	w := worker.New(worker.FromEnv())
	switch set {
	case "example":
		w.Handle("twins", "1", "Finds identical files and the largest ones in a list of files.", twins)
	case "conformance":
		w.Handle("conformance", "1", "Does what its input says, to test this worker.", conformance)
	default:
		fmt.Fprintf(os.Stderr, "unknown agent set %q: example or conformance\n", set)
		os.Exit(64)
	}
	w.Main()
}
