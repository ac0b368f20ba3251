package box

import (
	"net/netip"
	"testing"
)

func TestBoxesAreApart(t *testing.T) {
	room := netip.MustParsePrefix("198.18.0.0/15")
	var taken []netip.Prefix
	for slot := range Slots {
		b := of(slot, 1)
		if b.link(b.Host).Masked() != b.link(b.Node).Masked() {
			t.Errorf("slot %d: %s and %s are not on one link", slot, b.Host, b.Node)
		}
		for _, p := range []netip.Prefix{b.link(b.Host).Masked(), b.Pods, b.Services} {
			if !room.Contains(p.Addr()) || p != p.Masked() {
				t.Errorf("slot %d: %s is no network of %s", slot, p, room)
			}
			for _, other := range taken {
				if p.Overlaps(other) {
					t.Errorf("slot %d: %s overlaps %s", slot, p, other)
				}
			}
			taken = append(taken, p)
		}
	}
}
