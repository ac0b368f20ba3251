// The programs of a node that are not ours, and where they are.
package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What a node runs, what containerd runs, what kube-proxy runs, what the kubelet runs.
var wanted = []string{"containerd", "ctr", "containerd-shim-runc-v2", "runc", "nft", "mount"}

// The plugins that the network of the pods is made with.
var plugins = []string{"loopback", "ptp", "host-local"}

// CNI is the folder of the network's plugins; where there is none, the error says which are missing.
func CNI() (string, error) {
	for _, folder := range []string{fetched("usr/lib/cni"), "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		if hasAll(folder, plugins) {
			return folder, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins %s", strings.Join(plugins, ", "))
}

// FindPrograms puts what hack/build-tools.sh has fetched before what is installed, for this process and its children; the names of those that
// are nowhere.
func FindPrograms() []string {
	libraries, _ := filepath.Glob(fetched("usr/lib/*-linux-gnu*"))
	more, _ := filepath.Glob(fetched("lib/*-linux-gnu*"))
	prepend("LD_LIBRARY_PATH", append(libraries, more...)...)
	prepend("PATH", fetched("usr/sbin"), fetched("usr/bin"))
	// A user's PATH may lack them.
	_ = os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin:/usr/bin:/bin")

	var missing []string
	for _, name := range wanted {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if _, err := CNI(); err != nil {
		missing = append(missing, err.Error())
	}
	return missing
}

// Guest is the program of the pods' own first container, and of tests: beside this one.
func Guest() string { return filepath.Join(home(), "guest") }

// fetched is a path below what hack/build-tools.sh took out of Debian's packages.
func fetched(path string) string { return filepath.Join(home(), "node", path) }

func home() string {
	self, err := os.Executable()
	if err != nil {
		return "."
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	return filepath.Dir(self)
}

func prepend(variable string, folders ...string) {
	if old := os.Getenv(variable); old != "" {
		folders = append(folders, old)
	}
	if len(folders) > 0 {
		_ = os.Setenv(variable, strings.Join(folders, ":"))
	}
}

func hasAll(folder string, names []string) bool {
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}
