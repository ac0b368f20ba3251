// The cluster's DNS: a process at the node's address, where a real cluster has CoreDNS behind a Service.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
	"multiarch.dev/e2e/cluster/internal/dns"
)

func runDNS(args []string) int {
	flags := flag.NewFlagSet("dns", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "of whoever may list Services and EndpointSlices")
	listen := flags.String("listen", "127.0.0.1:53", "the address for queries, by UDP")
	domain := flags.String("domain", "", "a domain whose names are all at --host")
	host := flags.String("host", "127.0.0.1", "see --domain")
	_ = flags.Parse(args)

	if err := serveDNS(*kubeconfig, *listen, *domain, *host); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveDNS(kubeconfig, listen, domain, host string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	c := catalogue{factory.Core().V1().Services().Lister(), factory.Discovery().V1().EndpointSlices().Lister()}
	factory.Start(nil)
	for kind, synced := range factory.WaitForCacheSync(nil) {
		if !synced {
			return fmt.Errorf("failed to list %s", kind)
		}
	}
	names := dns.Names{Service: c.service, Domain: domain, Host: at}
	socket, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	query := make([]byte, 64<<10)
	for {
		size, peer, err := socket.ReadFrom(query)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// A peer that is gone is told about on the next read.
			continue
		}
		if answer := names.Answer(query[:size]); answer != nil {
			_, _ = socket.WriteTo(answer, peer)
		}
	}
}

type catalogue struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

func (c catalogue) service(name, namespace string) ([]netip.Addr, bool) {
	service, err := c.services.Services(namespace).Get(name)
	if err != nil {
		return nil, false
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone {
		address, err := netip.ParseAddr(service.Spec.ClusterIP)
		return []netip.Addr{address}, err == nil
	}
	slices, err := c.slices.EndpointSlices(namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name}))
	if err != nil {
		return nil, false
	}
	var found []netip.Addr
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			for _, text := range endpoint.Addresses {
				if address, err := netip.ParseAddr(text); err == nil {
					found = append(found, address)
				}
			}
		}
	}
	return found, true
}
