// Command cluster is a real Kubernetes in one binary: `cluster up` supervises, and starts the rest of itself as its children.
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
     --node                and a node whose pods run, in namespaces of its own (Linux, root)
  can-node                 say whether a node can run here, and what is missing if not
  kubectl                  kubectl, of the server's version (also under the name kubectl)
  etcd, dns, inside        embedded etcd, a cluster's DNS, up in its namespaces  \
  kube-apiserver, kube-controller-manager, kube-scheduler,                       } what up starts; not for people
  kubelet, kube-proxy      with their own flags                                  /
`

func main() {
	name, args := command(os.Args)
	if component, ok := components[name]; ok {
		os.Exit(component(args))
	}
	switch name {
	case "up":
		os.Exit(up.Main(args, os.Stdin, os.Stdout, os.Stderr))
	case "can-node":
		os.Exit(up.CanNode(os.Stdin, os.Stdout, os.Stderr))
	case "inside":
		os.Exit(inside(args))
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

// inside is what this program is told to be as the first process of a box.
func inside(args []string) int {
	switch {
	case len(args) > 0 && args[0] == "up":
		return up.Inside(args[1:], os.Stdin, os.Stdout, os.Stderr)
	case len(args) == 1:
		return up.TryNode(args[0], os.Stderr)
	default:
		fmt.Fprint(os.Stderr, usage)
		return 2
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
