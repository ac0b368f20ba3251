// The cgroups of a node: all below one name, in each hierarchy of cgroup v1, or in that of v2.
package box

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// What the kubelet asks for.
var controllers = []string{"cpu", "cpuset", "memory", "pids"}

// hierarchies are the folders that a group is made in: one for each controller, or a single one.
func hierarchies() ([]string, error) {
	if isOf(cgroups, unix.CGROUP2_SUPER_MAGIC) {
		return []string{cgroups}, nil
	}
	all, err := os.ReadDir(cgroups)
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	var found, real []string
	for _, folder := range all {
		path := filepath.Join(cgroups, folder.Name())
		// Beside those of v1 there may be one of v2, in which processes are grouped as well.
		if !isOf(path, unix.CGROUP_SUPER_MAGIC) && !isOf(path, unix.CGROUP2_SUPER_MAGIC) {
			continue
		}
		// "cpu" may be a link to "cpu,cpuacct".
		if resolved, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(real, resolved) {
			found, real = append(found, path), append(real, resolved)
		}
	}
	for _, controller := range controllers {
		if !isOf(filepath.Join(cgroups, controller), unix.CGROUP_SUPER_MAGIC) {
			return nil, fmt.Errorf("cgroups: the controller %s is not mounted at %s", controller, cgroups)
		}
	}
	return found, nil
}

func isOf(path string, magic int64) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && int64(stat.Type) == magic
}

func makeCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range all {
		if err := os.Mkdir(filepath.Join(hierarchy, name), 0o755); err != nil {
			return errors.Join(fmt.Errorf("cgroups: %w", err), removeCgroups(name))
		}
	}
	if all[0] == cgroups {
		if err := delegate(filepath.Join(cgroups, name)); err != nil {
			return errors.Join(err, removeCgroups(name))
		}
	}
	return nil
}

// delegate has cgroup v2 hand down to the group what the kubelet asks for.
func delegate(group string) error {
	given, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	has := strings.Fields(string(given))
	for _, controller := range controllers {
		if slices.Contains(has, controller) {
			continue
		}
		control := filepath.Join(cgroups, "cgroup.subtree_control")
		if err := os.WriteFile(control, []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("cgroups: %s hands no %s to its children, and cannot be told to: %w", cgroups, controller, err)
		}
	}
	return nil
}

// removeCgroups removes the groups whose names begin so, and those below them; what has a process in it stays, and is an error.
func removeCgroups(prefix string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range all {
		groups, err := filepath.Glob(filepath.Join(hierarchy, prefix) + "*")
		if err != nil {
			return err
		}
		for _, group := range groups {
			if err := removeGroup(group); err != nil {
				return fmt.Errorf("failed to remove the cgroups of a node: %w", err)
			}
		}
	}
	return nil
}

// removeGroup tries for a while: a group whose last process has just ended is busy for a moment.
func removeGroup(group string) error {
	for tries := 0; ; tries++ {
		err := removeTree(group)
		if err == nil || !errors.Is(err, unix.EBUSY) || tries == 100 || tries > 20 && hasProcess(group) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func folders(group string) []string {
	var found []string
	_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// removeTree removes the folders from the innermost outwards: the files in them are the kernel's.
func removeTree(group string) error {
	for _, folder := range slices.Backward(folders(group)) {
		if err := unix.Rmdir(folder); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: folder, Err: err}
		}
	}
	return nil
}

func hasProcess(group string) bool {
	for _, folder := range folders(group) {
		processes, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err == nil && len(bytes.TrimSpace(processes)) > 0 {
			return true
		}
	}
	return false
}
