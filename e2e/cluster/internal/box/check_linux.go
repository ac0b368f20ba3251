// Whether a node can run here, and what is missing if not.
package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What kube-proxy writes, of each kind one: the kernel takes it or says what it does not know.
const ruleset = `
table ip multiarch-check {
	map services { type ipv4_addr . inet_proto . inet_service : verdict; }
	chain one {
		fib daddr type local counter
		numgen random mod 2 vmap { 0 : accept, 1 : accept }
	}
	chain in {
		type nat hook prerouting priority dstnat;
		ip daddr . meta l4proto . th dport vmap @services
		meta l4proto tcp dnat to 127.0.0.2:1
	}
	chain out {
		type nat hook postrouting priority srcnat;
		meta mark and 0x4000 == 0x4000 masquerade fully-random
	}
}
`

// Missing is what can be said before anything is tried, each with what to do about it.
func Missing() []string {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root: a node makes namespaces, mounts and cgroups")
	}
	if programs := FindPrograms(); len(programs) > 0 {
		missing = append(missing, fmt.Sprintf("programs: %s (hack/build-tools.sh node fetches them where there is apt-get; elsewhere install "+
			"containerd, runc, nftables and the CNI plugins)", strings.Join(programs, ", ")))
	}
	if !hasAll(home(), []string{"guest"}) {
		missing = append(missing, fmt.Sprintf("%s: hack/build-tools.sh cluster builds it", Guest()))
	}
	if file, err := os.Open("/dev/kmsg"); err != nil {
		missing = append(missing, fmt.Sprintf("the kernel's log, which a kubelet reads: %v", err))
	} else {
		_ = file.Close()
	}
	if _, err := hierarchies(); err != nil {
		missing = append(missing, err.Error())
	}
	return missing
}

// Try has the kernel do, in the box, what a node would have it do later, in a scratch folder.
func Try(folder string) error {
	cmd := exec.Command("nft", "--file", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nftables with NAT, which kube-proxy writes: %w\n%s", err, output)
	}
	if output, err := exec.Command("nft", "delete", "table", "ip", "multiarch-check").CombinedOutput(); err != nil {
		return fmt.Errorf("failed to delete a table of nftables: %w\n%s", err, output)
	}
	if output, err := exec.Command("runc", "--version").CombinedOutput(); err != nil {
		return fmt.Errorf("runc, which does not run: %w\n%s", err, output)
	}
	_, err := Snapshotter(folder)
	return err
}

// Snapshotter is what containerd keeps layers with in folder: overlayfs where that works there, which it does not on top of another one.
func Snapshotter(folder string) (string, error) {
	scratch, err := os.MkdirTemp(folder, "overlay-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	at := func(name string) string { return filepath.Join(scratch, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			return "", err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return "native", nil
	}
	if err := unix.Unmount(at("merged"), 0); err != nil {
		return "", errors.Join(fmt.Errorf("failed to unmount %s: %w", at("merged"), err))
	}
	return "overlayfs", nil
}
