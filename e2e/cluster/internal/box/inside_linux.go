// The inside of a box: what its first process does before anything else starts there.
package box

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The pipe of [Run].
const told = 3

// Where a kubelet, containerd and CNI write without being asked. They get empty folders instead of the host's.
var hidden = []string{"/run", "/var/lib", "/var/log"}

// What a kubelet sets for the whole kernel, and the values that it wants. It reads these from files of its own, finds nothing to do, and leaves
// the host's alone.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// Enter settles this process, which [Run] has started, in its box. The folders in keep stay the host's, wherever they are.
func Enter(keep ...string) (Box, error) {
	var b Box
	pipe := os.NewFile(told, "the pipe of the box")
	err := json.NewDecoder(pipe).Decode(&b)
	if pipe.Close() != nil || err != nil {
		return b, fmt.Errorf("failed to hear where the box is, which `cluster up --node` says: %w", err)
	}
	if missing := FindPrograms(); len(missing) > 0 {
		return b, fmt.Errorf("programs: %s", strings.Join(missing, ", "))
	}
	// What the host unmounts is unmounted here too, and nothing that is mounted here is seen there.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return b, fmt.Errorf("mounts of one's own: %w", err)
	}
	if err := hide(append(keep, home())); err != nil {
		return b, err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return b, fmt.Errorf("/proc of one's own: %w", err)
	}
	if err := pretend(); err != nil {
		return b, err
	}
	if err := b.askHere(); err != nil {
		return b, fmt.Errorf("/etc/resolv.conf of one's own: %w", err)
	}
	if err := b.raise(); err != nil {
		return b, fmt.Errorf("the node's end of the veth pair: %w", err)
	}
	return b, b.reachHost()
}

// hide mounts an empty folder on each of hidden, and what is to be kept of them in it.
func hide(keep []string) error {
	for _, folder := range hidden {
		files := map[string]int{}
		for _, path := range keep {
			if path != folder && !strings.HasPrefix(path, folder+"/") {
				continue
			}
			fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("failed to open %s: %w", path, err)
			}
			defer unix.Close(fd)
			files[path] = fd
		}
		if err := unix.Mount("node", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("an empty %s: %w", folder, err)
		}
		for path, fd := range files {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return fmt.Errorf("failed to keep %s: %w", path, err)
			}
		}
	}
	return nil
}

func pretend() error {
	for name, value := range tunables {
		file := filepath.Join("/run/tunables", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("a %s of one's own: %w", name, err)
		}
	}
	return nil
}

// askHere has every lookup of a name go to the node's own server, and no further.
func (b Box) askHere() error {
	const file = "/etc/resolv.conf"
	content := []byte("nameserver " + b.Node.String() + "\n")
	ours := "/run/resolv.conf"
	if err := os.WriteFile(ours, content, 0o644); err != nil {
		return err
	}
	path, err := os.Readlink(file)
	if err != nil {
		return unix.Mount(ours, file, "", unix.MS_BIND, "")
	}
	// systemd-resolved's, below /run, which is ours and empty.
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func (b Box) raise() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	link, err := netlink.LinkByName(inside)
	if err != nil {
		return err
	}
	if err := raise(link, b.link(b.Node)); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

// reachHost is what every pull of an image will want.
func (b Box) reachHost() error {
	connection, err := net.DialTimeout("tcp", b.Probe.String(), 3*time.Second)
	if err != nil {
		return fmt.Errorf("the node does not reach the host at %s (a firewall?): %w", b.Probe, err)
	}
	return connection.Close()
}
