// A node: containerd before everything else, then what needs the API server, then the questions that say pods will run.
package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"multiarch.dev/e2e/cluster/internal/box"
)

const (
	nodeName   = "node"
	pauseImage = "multiarch.test/pause:1"
	// Inside the box, where /run is its own.
	runtimeSocket = "/run/containerd/containerd.sock"
	// Every name below it is at the host's end of the veth pair, where tests have their registries.
	hostDomain = "example.com"
)

// CanNode says whether a node can run here: 0 when it can, 1 with what is missing.
func CanNode(stdin io.Reader, stdout, stderr io.Writer) int {
	folder, err := os.MkdirTemp("", "multiarch-node-")
	if err != nil {
		return told(0, err, stderr)
	}
	defer os.RemoveAll(folder)
	code, err := box.Run([]string{"inside", folder}, stdin, stdout, stderr)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprint(stderr, "missing: ", strings.TrimSuffix(line, "\n"), "\n")
		}
		return 1
	}
	if code == 0 {
		fmt.Fprintln(stdout, "a node can run here")
	}
	return code
}

// TryNode does in a box what a node would do there.
func TryNode(folder string, stderr io.Writer) int {
	_, err := box.Enter(folder)
	if err == nil {
		err = box.Try(folder)
	}
	if err != nil {
		fmt.Fprintln(stderr, "missing:", err)
		return 1
	}
	return 0
}

// startRuntime writes what a node reads, and starts containerd, which needs nobody.
func (s *supervisor) startRuntime(server string, ca *authority) error {
	if err := os.MkdirAll(s.layout.node(""), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(s.layout.registries(), 0o755); err != nil {
		return err
	}
	if err := s.layout.writeNodeKeys(server, ca, s.box, time.Now()); err != nil {
		return fmt.Errorf("failed to write the node's keys: %w", err)
	}
	snapshotter, err := box.Snapshotter(s.layout.node(""))
	if err != nil {
		return fmt.Errorf("failed to try out overlayfs: %w", err)
	}
	plugins, err := box.CNI()
	if err != nil {
		return err
	}
	if err := s.layout.writeNodeFiles(s.box, snapshotter, plugins); err != nil {
		return fmt.Errorf("failed to write the node's configuration: %w", err)
	}
	if err := writeImage(s.layout.node("pause.tar"), pauseImage, box.Guest(), []string{"/guest", "pause"}); err != nil {
		return fmt.Errorf("failed to make the image of the pods' first container: %w", err)
	}
	return s.startProgram("containerd", []string{"--config", s.layout.node("containerd.toml")})
}

// startNode starts what makes pods run, and returns when they will.
func (s *supervisor) startNode(ctx context.Context) error {
	if err := s.importPause(ctx); err != nil {
		return err
	}
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"kube-scheduler", schedulerFlags(s.layout)},
		{"kube-proxy", []string{"--config=" + s.layout.node("kube-proxy.json")}},
		{"dns", dnsFlags(s.layout, s.box)},
		{"kubelet", kubeletFlags(s.layout, s.box)},
	} {
		if err := s.start(c.name, c.flags); err != nil {
			return err
		}
	}
	if err := until(ctx, "the node ready", func() error { return s.nodeReady(ctx) }); err != nil {
		return err
	}
	if err := until(ctx, "kube-proxy at work", func() error { return proxyReady(ctx) }); err != nil {
		return err
	}
	return until(ctx, "an answer of the cluster's DNS", func() error { return dnsReady(ctx, s.box) })
}

// importPause gives containerd the image of the pods' first container, so that no pod needs a registry for it.
func (s *supervisor) importPause(ctx context.Context) error {
	listening := func() error {
		connection, err := new(net.Dialer).DialContext(ctx, "unix", runtimeSocket)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	if err := until(ctx, "a listener on "+runtimeSocket, listening); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ctr", "--address", runtimeSocket, "--namespace", "k8s.io", "images", "import", "--no-unpack", s.layout.node("pause.tar"))
	cmd.SysProcAttr = attributes()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to import an image into containerd: %w\n%s", err, output)
	}
	return nil
}

func (s *supervisor) nodeReady(ctx context.Context) error {
	text, err := s.asks.read(ctx, "/api/v1/nodes/"+nodeName)
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(text, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return errors.New("the kubelet has not said anything yet")
}

func proxyReady(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:10256/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

func dnsReady(ctx context.Context, b *box.Box) error {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", net.JoinHostPort(b.Node.String(), "53"))
	}}
	_, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
	return err
}
