// Ports that the kernel chooses and that stay ours until a child listens on them.
package up

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// port is a loopback port, held by a socket that is bound and never listens: a child that sets SO_REUSEPORT can listen there, and nobody
// else is given the number in the meantime.
type port struct{ number, fd int }

func reserve() (port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return port{}, fmt.Errorf("failed to open a socket: %w", err)
	}
	unix.CloseOnExec(fd)
	number, err := bind(fd)
	if err != nil {
		_ = unix.Close(fd)
		return port{}, fmt.Errorf("failed to reserve a port: %w", err)
	}
	return port{number: number, fd: fd}, nil
}

func bind(fd int) (int, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	address, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("the kernel bound %T", bound)
	}
	return address.Port, nil
}

func (p port) address() string { return fmt.Sprintf("127.0.0.1:%d", p.number) }

func (p port) close() { _ = unix.Close(p.fd) }
