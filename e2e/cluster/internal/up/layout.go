// The folder of one cluster: what lies where, and what is written before anything starts.
package up

import (
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// layout is a cluster's folder:
//
//	kubeconfig   the administrator's
//	node.json    where the node is, if there is one
//	ca.crt       the authority that the API server's certificate is from
//	log/         one file a component
//	private/     keys, certificates, the controller manager's kubeconfig
//	etcd/        the data; removed at the end
//	node/        what a kubelet and containerd keep; removed at the end
//	registries/  a folder for each registry that containerd is to find elsewhere, or without TLS (containerd's hosts.toml)
//	lock         held while the cluster is up
type layout struct{ dir string }

func (l layout) kubeconfig() string           { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) ca() string                   { return filepath.Join(l.dir, "ca.crt") }
func (l layout) logs() string                 { return filepath.Join(l.dir, "log") }
func (l layout) etcd() string                 { return filepath.Join(l.dir, "etcd") }
func (l layout) node(name string) string      { return filepath.Join(l.dir, "node", name) }
func (l layout) box() string                  { return filepath.Join(l.dir, "node.json") }
func (l layout) registries() string           { return filepath.Join(l.dir, "registries") }
func (l layout) private(name string) string   { return filepath.Join(l.dir, "private", name) }
func (l layout) controllerKubeconfig() string { return l.private("kube-controller-manager.kubeconfig") }
func (l layout) serviceAccountKey() string    { return l.private("service-account.key") }

// open makes the folders and takes the lock, which the kernel lets go when the process ends.
func open(dir string) (layout, *os.File, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return layout{}, nil, fmt.Errorf("failed to resolve %s: %w", dir, err)
	}
	l := layout{dir}
	if err := os.MkdirAll(l.private(""), 0o700); err != nil {
		return layout{}, nil, err
	}
	lock, err := l.lock()
	if err != nil {
		return layout{}, nil, err
	}
	// What a killed predecessor left: its data, and a kubeconfig that a reader could take for ours.
	for _, stale := range []string{l.etcd(), l.node(""), l.registries(), l.box(), l.kubeconfig()} {
		if err := os.RemoveAll(stale); err != nil {
			return layout{}, nil, err
		}
	}
	return l, lock, os.MkdirAll(l.logs(), 0o755)
}

func (l layout) lock() (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(l.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("another cluster is up in %s: %w", l.dir, err)
	}
	return lock, nil
}

// removeNode removes what a node kept, once its mounts and processes are gone.
func removeNode(dir string) error {
	l := layout{dir}
	if _, err := os.Stat(l.node("")); err != nil {
		return nil
	}
	lock, err := l.lock()
	if err != nil {
		return nil // it is the next one's by now
	}
	defer lock.Close()
	return os.RemoveAll(l.node(""))
}

// writeKeys makes every key, certificate and kubeconfig of a control plane at the addresses anew, and returns the administrator's credential.
func (l layout) writeKeys(server string, addresses []net.IP, now time.Time) (*authority, pair, error) {
	ca, err := newAuthority(now)
	if err != nil {
		return nil, pair{}, err
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	serving, err := ca.server("kube-apiserver", names, addresses, now)
	if err != nil {
		return nil, pair{}, err
	}
	admin, err := ca.client("admin", []string{"system:masters"}, now)
	if err != nil {
		return nil, pair{}, err
	}
	controllers, err := ca.client("system:kube-controller-manager", nil, now)
	if err != nil {
		return nil, pair{}, err
	}
	signer, err := newKey()
	if err != nil {
		return nil, pair{}, err
	}
	return ca, admin, firstError(
		func() error { return os.WriteFile(l.ca(), ca.pem, 0o644) },
		func() error { return serving.write(l.private("kube-apiserver")) },
		func() error { return writeKey(l.serviceAccountKey(), signer) },
		func() error { return writeKubeconfig(l.kubeconfig(), server, ca, "admin", admin) },
		func() error {
			return writeKubeconfig(l.controllerKubeconfig(), server, ca, "kube-controller-manager", controllers)
		},
	)
}

// writeKey writes the key as SEC 1: of a PKCS #8 key the API server does not find the public half.
func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("failed to encode the key of the ServiceAccounts: %w", err)
	}
	return os.WriteFile(path, encode("EC PRIVATE KEY", der), 0o600)
}

func writeKubeconfig(path, server string, ca *authority, user string, credential pair) error {
	text, err := kubeconfig(server, ca.pem, user, credential)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
