//go:build unix && !linux

// Elsewhere children outlive a parent that is killed outright; every other end takes them along.
package up

import "syscall"

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
