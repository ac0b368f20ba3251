package up

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary is its own child: started as "crash", it says something and fails; as "linger", it stays.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "crash" {
		fmt.Println("about to fail:", os.Args[2])
		os.Exit(3)
	}
	if len(os.Args) > 1 && os.Args[1] == "linger" {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt)
		<-signals
	}
	os.Exit(m.Run())
}

func TestLeavesAreOfTheAuthority(t *testing.T) {
	now := time.Now()
	ca, err := newAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)

	serving, err := ca.server("api", []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}, now)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, serving.cert)
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("the server's certificate does not serve %s: %v", name, err)
		}
	}

	admin, err := ca.client("admin", []string{"system:masters"}, now)
	if err != nil {
		t.Fatal(err)
	}
	cert = parse(t, admin.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the client's certificate is no client's: %v", err)
	}
	if cert.Subject.CommonName != "admin" || cert.Subject.Organization[0] != "system:masters" {
		t.Errorf("the client is %s", cert.Subject)
	}
}

func TestKubeconfigStandsAlone(t *testing.T) {
	text, err := kubeconfig("https://127.0.0.1:1", []byte("CA"), "admin", pair{cert: []byte("CERT"), key: []byte("KEY")})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Errorf("no JSON: %s", text)
	}
	for _, inside := range []string{"CA", "CERT", "KEY"} {
		if encoded := base64.StdEncoding.EncodeToString([]byte(inside)); !bytes.Contains(text, []byte(encoded)) {
			t.Errorf("%s is not in it: %s", inside, text)
		}
	}
}

func TestAReservedPortIsNobodyElses(t *testing.T) {
	p, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if listener, err := net.Listen("tcp", p.address()); err == nil {
		_ = listener.Close()
		t.Errorf("somebody else could listen on %s", p.address())
	}
	other, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if other.number == p.number {
		t.Errorf("port %d was given twice", p.number)
	}
}

func TestTheEndOfAChildSaysWhy(t *testing.T) {
	endings := make(chan ended, 1)
	tell := func(e ended) { endings <- e }
	if _, err := start("crash", []string{"no disk"}, t.TempDir(), tell); err != nil {
		t.Fatal(err)
	}
	message := (<-endings).Error()
	for _, part := range []string{"crash ended (exit status 3)", "about to fail: no disk"} {
		if !strings.Contains(message, part) {
			t.Errorf("%q is not in %q", part, message)
		}
	}
}

func TestAChildThatWasToldToGoIsNoFailure(t *testing.T) {
	ended := func(e ended) { t.Errorf("nobody wanted to know: %v", e) }
	c, err := start("linger", nil, t.TempDir(), ended)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.kill(); err != nil {
		t.Fatal(err)
	}
	<-c.gone
}

func TestTail(t *testing.T) {
	long := strings.Repeat("line\n", 100) + "last\n"
	for name, c := range map[string]struct{ log, first, last string }{
		"empty": {"", "    (nothing)", "    (nothing)"},
		"short": {"one\ntwo\n", "    one", "    two"},
		"long":  {long, "    line", "    last"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(c.log), 0o600); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(tail(path), "\n")
		if len(lines) > tailLines || lines[0] != c.first || lines[len(lines)-1] != c.last {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

func TestOneClusterAFolder(t *testing.T) {
	dir := t.TempDir()
	_, lock, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(dir); err == nil {
		t.Error("a second cluster came up in the same folder")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, lock, err = open(dir); err != nil {
		t.Errorf("the folder stayed locked: %v", err)
	} else {
		_ = lock.Close()
	}
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
