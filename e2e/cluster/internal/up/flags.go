// The flags that each component of the control plane gets.
package up

import (
	"fmt"

	"multiarch.dev/e2e/cluster/internal/box"
)

func etcdFlags(l layout, etcd port) []string {
	return []string{"--data-dir=" + l.etcd(), "--listen=" + etcd.address()}
}

// apiserverFlags are those of a control plane on loopback, or of one that has a node in b.
func apiserverFlags(l layout, etcd, api port, o options, b *box.Box) []string {
	flags := []string{
		"--etcd-servers=http://" + etcd.address(),
		"--secure-port=" + fmt.Sprint(api.number),
		"--permit-port-sharing", // the supervisor holds the port, bound but not listening
		"--tls-cert-file=" + l.private("kube-apiserver.crt"),
		"--tls-private-key-file=" + l.private("kube-apiserver.key"),
		"--client-ca-file=" + l.ca(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + l.serviceAccountKey(),
		"--service-account-signing-key-file=" + l.serviceAccountKey(),
		"--profiling=false",
	}
	if b == nil {
		flags = append(flags,
			"--bind-address=127.0.0.1",
			"--authorization-mode=RBAC",
			"--service-cluster-ip-range=10.96.0.0/16",
			// No pod will ever call, and a loopback address is refused as the endpoint of kubernetes.default.
			"--advertise-address=127.0.0.1",
			"--endpoint-reconciler-type=none",
		)
	} else {
		flags = append(flags,
			"--bind-address=0.0.0.0",
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--service-cluster-ip-range="+b.Services.String(),
			"--advertise-address="+b.Node.String(), // the endpoint of kubernetes.default
			"--enable-aggregator-routing=true",     // it calls webhooks at their endpoints, without kube-proxy
			"--kubelet-client-certificate="+l.private("kubelet-client.crt"),
			"--kubelet-client-key="+l.private("kubelet-client.key"),
			"--kubelet-certificate-authority="+l.ca(),
			"--kubelet-preferred-address-types=InternalIP",
		)
	}
	if o.runtimeConfig != "" {
		flags = append(flags, "--runtime-config="+o.runtimeConfig)
	}
	if o.featureGates != "" {
		flags = append(flags, "--feature-gates="+o.featureGates)
	}
	return flags
}

func controllerManagerFlags(l layout) []string {
	return []string{
		"--kubeconfig=" + l.controllerKubeconfig(),
		"--service-account-private-key-file=" + l.serviceAccountKey(),
		"--root-ca-file=" + l.ca(),
		"--use-service-account-credentials", // each controller under the RBAC of its own ServiceAccount, as in a real cluster
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		// Starting some thirty controllers is hundreds of requests: at the 20 a second that are the default it takes 8 s.
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
	}
}
