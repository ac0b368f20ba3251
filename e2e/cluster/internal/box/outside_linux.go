// The outside of a box: this program started again in namespaces, tied to the host, and everything gone at its end.
package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Run starts this program with args as the first process of a box, and returns its exit code when the box is gone.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int, err error) {
	// The kernel ties "die with your parent" to the thread that started the child.
	runtime.LockOSThread()
	if missing := Missing(); len(missing) > 0 {
		return 0, errors.New(strings.Join(missing, "\n"))
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	s, err := takeSlot()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.free()) }()

	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("failed to find the program's own path: %w", err)
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer tell.Close()
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.ExtraFiles = []*os.File{told}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		// The first process of the namespace: with it goes every other.
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true,
	}
	err = cmd.Start()
	_ = told.Close()
	if err != nil {
		return 0, fmt.Errorf("new namespaces of processes, mounts and network (CAP_SYS_ADMIN): %w", err)
	}
	if err := s.tie(cmd.Process.Pid, tell); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return 0, err
	}
	_ = tell.Close()
	go func() {
		for signal := range signals {
			_ = cmd.Process.Signal(signal)
		}
	}()
	err = cmd.Wait()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Exited() {
		return ended.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("the first process of the node's namespaces ended: %w", err)
	}
	return 0, nil
}

// tie makes the link to the box of process pid, and tells it where it is.
func (s *slot) tie(pid int, tell io.Writer) error {
	if err := s.connect(pid); err != nil {
		return fmt.Errorf("a veth pair and its routes (CAP_NET_ADMIN): %w", err)
	}
	probe, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.box.Host, 0)))
	if err != nil {
		return fmt.Errorf("a port at the host's end of the veth pair: %w", err)
	}
	s.probe = probe
	s.box.Probe = probe.Addr().(*net.TCPAddr).AddrPort()
	if err := json.NewEncoder(tell).Encode(s.box); err != nil {
		return fmt.Errorf("failed to tell the box where it is: %w", err)
	}
	return nil
}
