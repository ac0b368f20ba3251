package dns

import (
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func names() Names {
	return Names{
		Service: func(name, namespace string) ([]netip.Addr, bool) {
			if namespace != "default" {
				return nil, false
			}
			switch name {
			case "web":
				return []netip.Addr{netip.MustParseAddr("198.18.2.7")}, true
			case "headless":
				return []netip.Addr{netip.MustParseAddr("198.18.1.1"), netip.MustParseAddr("198.18.1.2")}, true
			default:
				return nil, false
			}
		},
		Domain: "example.com.",
		Host:   netip.MustParseAddr("198.18.0.1"),
	}
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		kind  dnsmessage.Type
		code  dnsmessage.RCode
		found []string
	}{
		"web.default.svc.cluster.local.":      {dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"198.18.2.7"}},
		"WEB.default.svc.cluster.local.":      {dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"198.18.2.7"}},
		"headless.default.svc.cluster.local.": {dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"198.18.1.1", "198.18.1.2"}},
		"web.other.svc.cluster.local.":        {dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		"a.web.default.svc.cluster.local.":    {dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		"registry.example.com.":               {dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"198.18.0.1"}},
		"example.org.":                        {dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		"notexample.com.":                     {dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		// What is there, and has no such address: who asks must not go on to the next suffix.
		"web.Default.svc.cluster.local.": {dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, nil},
	} {
		query := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: c.kind, Class: dnsmessage.ClassINET}},
		}
		packed, err := query.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(names().Answer(packed)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.ID != 7 || !m.Response || m.RCode != c.code || len(m.Answers) != len(c.found) {
			t.Errorf("%s: %+v", name, m)
			continue
		}
		for i, found := range c.found {
			if a := m.Answers[i].Body.(*dnsmessage.AResource); netip.AddrFrom4(a.A).String() != found {
				t.Errorf("%s: %v, and not %s", name, a, found)
			}
		}
	}
}

func TestWhatIsNoQueryHasNoAnswer(t *testing.T) {
	answer := dnsmessage.Message{Header: dnsmessage.Header{Response: true}}
	packed, err := answer.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range [][]byte{nil, {1, 2, 3}, packed} {
		if got := names().Answer(query); got != nil {
			t.Errorf("%v: %v", query, got)
		}
	}
}
