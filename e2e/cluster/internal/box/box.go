// Package box makes the namespaces that a node lives in: processes, mounts and network of its own, tied to the host by one veth pair. Whatever
// a kubelet and containerd leave behind goes with them, also when the box is killed outright; only cgroups are on the host, under one name.
package box

import (
	"fmt"
	"net/netip"
)

// Slots is how many boxes a machine has room for.
const Slots = 32

// Box is where a node lives, as it is told inside.
type Box struct {
	// The two ends of the veth pair. There is no default route: nothing inside reaches further than the host.
	Host netip.Addr
	Node netip.Addr
	// What the host reaches by way of the node.
	Pods     netip.Prefix
	Services netip.Prefix
	// The group that all others are below of, in each hierarchy.
	Cgroup string
	// The name of the host's end of the veth pair.
	Link string
	// Where the host listens meanwhile, to be asked whether it can be reached.
	Probe netip.AddrPort
}

// of gives each slot 4096 addresses of 198.18.0.0/15, which is set aside for the tests of networks (RFC 2544) and so is nobody's. The
// cgroup has the number of the process that made it, too: one that a killed box has left is never taken for the next one's.
func of(slot, pid int) Box {
	at := func(third, fourth int) netip.Addr {
		number := slot<<12 | third<<8 | fourth
		return netip.AddrFrom4([4]byte{198, byte(18 + number>>16), byte(number >> 8), byte(number)})
	}
	return Box{
		Host:     at(0, 1),
		Node:     at(0, 2),
		Pods:     netip.PrefixFrom(at(1, 0), 24),
		Services: netip.PrefixFrom(at(2, 0), 24),
		Cgroup:   fmt.Sprintf("%s%d", cgroupPrefix(slot), pid),
		Link:     fmt.Sprintf("multiarch%d", slot),
	}
}

func cgroupPrefix(slot int) string { return fmt.Sprintf("/multiarch-node-%d-", slot) }

// link is the network of the veth pair.
func (b Box) link(end netip.Addr) netip.Prefix { return netip.PrefixFrom(end, 30) }
