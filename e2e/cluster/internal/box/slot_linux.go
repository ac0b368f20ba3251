// What a box has on the host: its slot, a veth pair with routes, and cgroups.
package box

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The name of the link inside.
const inside = "node"

type slot struct {
	number int
	box    Box
	// Held as long as the slot is taken; the kernel lets go of it when the process ends.
	held  net.Listener
	probe net.Listener
}

// takeSlot takes the first free slot, and removes the cgroups that killed boxes left in the free ones.
func takeSlot() (*slot, error) {
	var mine *slot
	var errs []error
	for number := range Slots {
		// An abstract socket: a name that one process at a time has, and no file.
		held, err := net.Listen("unix", fmt.Sprintf("@multiarch-node-%d", number))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("failed to take a place for a node: %w", err)
		}
		s := &slot{number: number, box: of(number, os.Getpid()), held: held}
		if err := s.clean(); err != nil {
			errs = append(errs, err)
			_ = held.Close()
			continue
		}
		if mine != nil {
			_ = held.Close()
			continue
		}
		if err := makeCgroups(s.box.Cgroup); err != nil {
			_ = held.Close()
			return nil, err
		}
		mine = s
	}
	if mine == nil {
		return nil, errors.Join(append(errs, fmt.Errorf("a place for a node: all %d are taken", Slots))...)
	}
	return mine, nil
}

// clean removes what is under our names: a predecessor's that was killed.
func (s *slot) clean() error {
	if link, err := netlink.LinkByName(s.box.Link); err == nil {
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("failed to remove the link %s: %w", s.box.Link, err)
		}
	}
	return removeCgroups(cgroupPrefix(s.number))
}

// free removes it all and lets others have the slot.
func (s *slot) free() error {
	err := s.clean()
	if s.probe != nil {
		_ = s.probe.Close()
	}
	return errors.Join(err, s.held.Close())
}

// connect makes the veth pair, one end of it in the network of process pid, and the routes by way of it.
func (s *slot) connect(pid int) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = s.box.Link
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: inside, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	link, err := netlink.LinkByName(s.box.Link)
	if err != nil {
		return err
	}
	if err := raise(link, s.box.link(s.box.Host)); err != nil {
		return err
	}
	for _, to := range []netip.Prefix{s.box.Pods, s.box.Services} {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to), Gw: s.box.Node.AsSlice()}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("a route to %s: %w", to, err)
		}
	}
	return nil
}

// raise gives the link its address and brings it up.
func raise(link netlink.Link, address netip.Prefix) error {
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return fmt.Errorf("the address %s: %w", address, err)
	}
	return netlink.LinkSetUp(link)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
