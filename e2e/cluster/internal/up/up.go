// Package up supervises a control plane: etcd, kube-apiserver and kube-controller-manager as children of one process; and, in a box, a node.
package up

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"multiarch.dev/e2e/cluster/internal/box"
)

type options struct {
	dir           string
	crds          string
	runtimeConfig string
	featureGates  string
	timeout       time.Duration
	untilStdin    bool
	node          bool
}

// Main is the command: 0 when it was told to stop, 1 when something failed, 2 when it was called wrongly.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, code := parseFlags(args, stderr)
	if code >= 0 {
		return code
	}
	if o.node {
		// Once more, inside a box.
		code, err := box.Run(append([]string{"inside", "up"}, args...), stdin, stdout, stderr)
		if err != nil {
			err = fmt.Errorf("a node cannot run here: %w", err)
		}
		return told(code, errors.Join(err, removeNode(o.dir)), stderr)
	}
	return told(0, run(o, nil, stdin, stdout), stderr)
}

// Inside is the command as the first process of a box.
func Inside(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, code := parseFlags(args, stderr)
	if code >= 0 {
		return code
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return told(0, err, stderr)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return told(0, err, stderr)
	}
	keep := []string{dir}
	if o.crds != "" {
		// A file's folder, or a folder with its own.
		crds, err := filepath.Abs(o.crds)
		if err != nil {
			return told(0, err, stderr)
		}
		keep = append(keep, filepath.Dir(crds))
	}
	b, err := box.Enter(keep...)
	if err != nil {
		return told(0, fmt.Errorf("a node cannot run here: %w", err), stderr)
	}
	return told(0, run(o, &b, stdin, stdout), stderr)
}

func told(code int, err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, "cluster:", err)
		return 1
	}
	return code
}

// parseFlags reads the flags; the code is what to exit with, or negative.
func parseFlags(args []string, stderr io.Writer) (o options, code int) {
	flags := flag.NewFlagSet("cluster up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "", "the cluster's folder, one for each cluster: kubeconfig, logs, keys, data (required)")
	flags.StringVar(&o.crds, "crds", "", "a file or folder of CustomResourceDefinitions to apply before the controllers start: garbage "+
		"collection knows kinds that are there when it starts, and looks for new ones only every 30 s")
	flags.StringVar(&o.runtimeConfig, "runtime-config", "", "passed on to kube-apiserver, to turn APIs on or off")
	flags.StringVar(&o.featureGates, "feature-gates", "", "passed on to kube-apiserver, to turn features on or off")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "how long it may take until the cluster is ready")
	flags.BoolVar(&o.node, "node", false, "with a node, whose pods run: a kubelet and containerd in namespaces of their own (cluster can-node "+
		"says whether one can run here)")
	flags.BoolVar(&o.untilStdin, "until-stdin-closes", false, "stop when standard input closes, as it does when the owner dies")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return o, 0
	} else if err != nil {
		return o, 2
	}
	if o.dir == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: cluster up --dir DIR [FLAG...]; see cluster up --help")
		return o, 2
	}
	return o, -1
}

// errStop is the cause of an end that somebody asked for.
var errStop = errors.New("told to stop")

func run(o options, b *box.Box, stdin io.Reader, stdout io.Writer) (err error) {
	// Children die with the thread that started them (child.go), so one thread starts them all, and stays.
	runtime.LockOSThread()

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopOnSignal(cancel)
	commands := make(chan string)
	if o.untilStdin {
		go func() {
			for lines := bufio.NewScanner(stdin); lines.Scan(); {
				commands <- lines.Text()
			}
			cancel(errStop)
		}()
	}

	l, lock, err := open(o.dir)
	if err != nil {
		return err
	}
	defer lock.Close()

	s := &supervisor{layout: l, box: b, cancel: cancel}
	defer func() { err = errors.Join(err, s.down()) }()

	ready, stopTimer := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not ready after %s", o.timeout))
	defer stopTimer()
	if err := s.up(ready, o); err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w\n%s", err, s.tails())
		}
		return whyEnded(ctx, err)
	}
	if _, err := fmt.Fprintln(stdout, l.kubeconfig()); err != nil {
		return fmt.Errorf("failed to print the kubeconfig's path: %w", err)
	}
	// On this thread, which children are tied to.
	for {
		select {
		case <-ctx.Done():
			return whyEnded(ctx, nil)
		case command := <-commands:
			if err := s.obey(ctx, command, stdout); err != nil {
				return whyEnded(ctx, err)
			}
		}
	}
}

// obey does what a line of standard input says, and says so when it is done.
func (s *supervisor) obey(ctx context.Context, command string, stdout io.Writer) error {
	var err error
	switch command {
	case "stop kube-apiserver":
		err = s.stop("kube-apiserver")
	case "start kube-apiserver":
		if err = s.start("kube-apiserver", s.apiserver); err == nil {
			err = s.asks.waitFor(ctx, apiserverReady)
		}
	default:
		err = errors.New("there is no such command")
	}
	if err != nil {
		return fmt.Errorf("failed to %s: %w", command, err)
	}
	_, err = fmt.Fprintln(stdout, command)
	return err
}

// whyEnded prefers the cause to what it made fail: a child's end to the question it left unanswered.
func whyEnded(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return err
	case errors.Is(cause, errStop):
		return nil
	default:
		return cause
	}
}

func stopOnSignal(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel(errStop)
	}()
}

type supervisor struct {
	layout   layout
	box      *box.Box // of the node; nil where there is none
	cancel   context.CancelCauseFunc
	children []*child
	ports    []port
	// How the API server is started, and asked whether it is ready.
	apiserver []string
	asks      *client
}

// up starts everything in order and returns when the cluster may be used.
func (s *supervisor) up(ctx context.Context, o options) error {
	etcd, err := s.reserve()
	if err != nil {
		return err
	}
	api, err := s.reserve()
	if err != nil {
		return err
	}
	server, addresses := "https://"+api.address(), []net.IP{net.IPv4(127, 0, 0, 1)}
	if s.box != nil {
		server = fmt.Sprintf("https://%s:%d", s.box.Node, api.number)
		// A pod calls the first address of all Services.
		addresses = append(addresses, s.box.Node.AsSlice(), s.box.Services.Addr().Next().AsSlice())
	}
	ca, admin, err := s.layout.writeKeys(server, addresses, time.Now())
	if err != nil {
		return fmt.Errorf("failed to write the keys: %w", err)
	}
	if s.asks, err = newClient(server, ca, admin); err != nil {
		return err
	}

	if s.box != nil {
		if err := s.startRuntime(server, ca); err != nil {
			return err
		}
	}
	if err := s.start("etcd", etcdFlags(s.layout, etcd)); err != nil {
		return err
	}
	// A client that is refused once waits a second before it tries again.
	if err := waitForListener(ctx, etcd); err != nil {
		return err
	}
	s.apiserver = apiserverFlags(s.layout, etcd, api, o, s.box)
	if err := s.start("kube-apiserver", s.apiserver); err != nil {
		return err
	}
	// The controller manager would wait for the API server by itself: asking once a second, and giving up after ten.
	if err := s.asks.waitFor(ctx, apiserverReady); err != nil {
		return err
	}
	if o.crds != "" {
		if err := s.applyCRDs(ctx, o.crds); err != nil {
			return err
		}
	}
	if err := s.start("kube-controller-manager", controllerManagerFlags(s.layout)); err != nil {
		return err
	}
	if s.box != nil {
		if err := s.startNode(ctx); err != nil {
			return err
		}
	}
	return s.asks.waitFor(ctx, controllersAtWork)
}

func (s *supervisor) applyCRDs(ctx context.Context, path string) error {
	if err := s.kubectl(ctx, "apply", "--server-side", "--filename", path); err != nil {
		return err
	}
	return s.kubectl(ctx, "wait", "--for=condition=Established", "--timeout=30s", "--recursive=false", "--filename", path)
}

func (s *supervisor) kubectl(ctx context.Context, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"kubectl", "--kubeconfig", s.layout.kubeconfig()}, args...)...)
	cmd.SysProcAttr = attributes()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to run kubectl %s: %w\n%s", args[0], err, output)
	}
	return nil
}

func (s *supervisor) reserve() (port, error) {
	p, err := reserve()
	if err == nil {
		s.ports = append(s.ports, p)
	}
	return p, err
}

func (s *supervisor) start(name string, args []string) error {
	return s.watch(start(name, args, s.layout.logs(), s.unasked))
}

func (s *supervisor) startProgram(name string, args []string) error {
	return s.watch(startProgram(name, exec.Command(name, args...), s.layout.logs(), s.unasked))
}

// unasked is told the end of a child. Only the first cause counts, and a stop that was asked for comes first.
func (s *supervisor) unasked(e ended) { s.cancel(e) }

func (s *supervisor) watch(c *child, err error) error {
	if err != nil {
		return err
	}
	s.children = append(s.children, c)
	return nil
}

// stop ends the child called name, and waits until it is gone. Its port stays ours.
func (s *supervisor) stop(name string) error {
	for i, c := range s.children {
		if c.name != name {
			continue
		}
		if err := c.kill(); err != nil {
			return err
		}
		<-c.gone
		s.children = slices.Delete(s.children, i, i+1)
		return nil
	}
	return errors.New("it does not run")
}

// tails is what the children said last: nobody ended, and yet something is not as it should be.
func (s *supervisor) tails() string {
	var text strings.Builder
	for _, c := range s.children {
		fmt.Fprintf(&text, "the end of %s:\n%s\n", c.log, tail(c.log))
	}
	return text.String()
}

// down ends every child, waits until they are gone, and removes the data.
func (s *supervisor) down() error {
	s.cancel(errStop)
	var errs []error
	for _, c := range s.children {
		errs = append(errs, c.kill())
	}
	for _, c := range s.children {
		<-c.gone
	}
	for _, p := range s.ports {
		p.close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.layout.etcd()))...)
}
