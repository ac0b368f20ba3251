// Command cluster is a real Kubernetes control plane in one binary: `cluster up` supervises, and starts the rest of itself as its children.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"multiarch.dev/e2e/cluster/internal/up"
)

const usage = `usage: cluster COMMAND [ARGUMENT...]

  up --dir DIR             a control plane on loopback, until it is told to stop; prints the path of its kubeconfig
  kubectl                  kubectl, of the server's version (also under the name kubectl)
  etcd                     embedded etcd            \
  kube-apiserver           with their own flags      } what up starts; not for people
  kube-controller-manager  with their own flags     /
`

func main() {
	name, args := command(os.Args)
	if component, ok := components[name]; ok {
		os.Exit(component(args))
	}
	switch name {
	case "up":
		os.Exit(up.Main(args, os.Stdin, os.Stdout, os.Stderr))
	case "help", "--help", "-h":
		fmt.Print(usage)
	case "":
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "cluster: no command %q\n\n%s", name, usage)
		os.Exit(2)
	}
}

// command finds the command's name: the program's own name where that is a component's (a symlink), else its first argument.
func command(argv []string) (string, []string) {
	called := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if _, ok := components[called]; ok {
		return called, argv[1:]
	}
	if len(argv) < 2 {
		return "", nil
	}
	return argv[1], argv[2:]
}
