// Package dns is the part of a cluster's DNS that charts and pods rely on: the addresses of Services, and those of names outside the cluster
// that stand for the host.
package dns

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone is the cluster's domain.
const Zone = "cluster.local."

// Names is what a server knows.
type Names struct {
	// The addresses of a Service: its own, or those of its ready endpoints; false where there is none.
	Service func(name, namespace string) ([]netip.Addr, bool)
	// The domain (with a dot at its end) whose names are all at Host: what tests call their registries.
	Domain string
	Host   netip.Addr
}

// Answer is the answer to a query; nil where it is none.
func (n Names) Answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || m.Response || len(m.Questions) != 1 {
		return nil
	}
	question := m.Questions[0]
	m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
	m.Answers, m.Authorities, m.Additionals = nil, nil, nil
	addresses, known := n.lookup(strings.ToLower(question.Name.String()))
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, address := range addresses {
		header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1}
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

func (n Names) lookup(name string) ([]netip.Addr, bool) {
	if service, inside := strings.CutSuffix(name, ".svc."+Zone); inside {
		parts := strings.Split(service, ".")
		if len(parts) != 2 {
			return nil, false
		}
		return n.Service(parts[0], parts[1])
	}
	if strings.HasSuffix(name, "."+n.Domain) && n.Domain != "" {
		return []netip.Addr{n.Host}, true
	}
	return nil, false
}
