// How children die with their parent on Linux: the kernel sees to it, even when the parent is killed outright.
package up

import "syscall"

func attributes() *syscall.SysProcAttr {
	// A process group of their own, so that Ctrl-C reaches the supervisor alone.
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
