// Command guest is what runs in the pods of a node's own tests: static, so that it is an image by itself. As `guest pause` it is the first
// container of every pod, whose namespaces the others share.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

const usage = `usage: guest COMMAND

  pause          wait for the end
  serve          answer every request at port 8080 with the pod's name
  whoami         ask the API server who this is
  resolve NAME…  print the addresses of names
  get URL        print what is there
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "pause":
		ends := make(chan os.Signal, 1)
		signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
		<-ends
		return nil
	case "serve":
		return serve()
	case "whoami":
		return whoami()
	case "resolve":
		for _, name := range args {
			addresses, err := net.LookupHost(name)
			if err != nil {
				return err
			}
			fmt.Println(name, strings.Join(addresses, " "))
		}
		return nil
	case "get":
		if len(args) != 1 {
			return errors.New("get wants one URL")
		}
		return show(http.Get(args[0]))
	default:
		return fmt.Errorf("no command %q\n%s", command, usage)
	}
}

func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	server := http.Server{
		Addr:              ":8080",
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(answer, name)
		}),
	}
	fmt.Println("serving as", name)
	return server.ListenAndServe()
}

// whoami uses what every pod is given: the name of the API server, its authority, and a token.
func whoami() error {
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err
	}
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		Timeout:   10 * time.Second,
	}
	review := strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	url := "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
	request, err := http.NewRequest(http.MethodPost, url, review)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+string(token))
	return show(client.Do(request))
}

func show(answer *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
