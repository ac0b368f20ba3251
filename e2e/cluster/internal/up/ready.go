// When the cluster may be used: what is asked of the API server, over and over, until it all holds.
package up

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const pause = 20 * time.Millisecond

const (
	// Covers the API server's own hooks: among them those that let a new CustomResourceDefinition be established, that write the default RBAC
	// roles, and that make the first namespaces.
	apiserverReady = "/readyz"
	// Made by the controller manager: now controllers run, and a pod in the namespace would be admitted.
	controllersAtWork = "/api/v1/namespaces/default/serviceaccounts/default"
)

type client struct {
	http   http.Client
	server string
}

func newClient(server string, ca *authority, admin pair) (*client, error) {
	certificate, err := tls.X509KeyPair(admin.cert, admin.key)
	if err != nil {
		return nil, fmt.Errorf("failed to use the administrator's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}
	return &client{
		http:   http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 5 * time.Second},
		server: server,
	}, nil
}

// waitFor asks one question until the answer is 200; the error says what the last answer was.
func (c *client) waitFor(ctx context.Context, path string) error {
	return until(ctx, "200 from "+path, func() error { return c.get(ctx, path) })
}

func (c *client) get(ctx context.Context, path string) error {
	_, err := c.read(ctx, path)
	return err
}

// read returns the answer, which must be 200; no question of ours has a long one.
func (c *client) read(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body[:min(len(body), 4<<10)])))
	}
	return body, nil
}

// waitForListener waits until somebody listens on the port.
func waitForListener(ctx context.Context, p port) error {
	return until(ctx, "a listener on "+p.address(), func() error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", p.address())
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

func until(ctx context.Context, what string, try func() error) error {
	last := errors.New("never tried")
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("failed to see %s: %w; the last answer: %w", what, context.Cause(ctx), last)
		case <-time.After(pause):
		}
	}
}
