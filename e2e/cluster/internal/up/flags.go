// The flags that each component of the control plane gets.
package up

import "fmt"

func etcdFlags(l layout, etcd port) []string {
	return []string{"--data-dir=" + l.etcd(), "--listen=" + etcd.address()}
}

func apiserverFlags(l layout, etcd, api port, runtimeConfig string) []string {
	flags := []string{
		"--etcd-servers=http://" + etcd.address(),
		"--bind-address=127.0.0.1",
		"--secure-port=" + fmt.Sprint(api.number),
		"--permit-port-sharing", // the supervisor holds the port, bound but not listening
		"--tls-cert-file=" + l.private("kube-apiserver.crt"),
		"--tls-private-key-file=" + l.private("kube-apiserver.key"),
		"--client-ca-file=" + l.ca(),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + l.serviceAccountKey(),
		"--service-account-signing-key-file=" + l.serviceAccountKey(),
		"--service-cluster-ip-range=10.96.0.0/16",
		// No pod will ever call, and a loopback address is refused as the endpoint of kubernetes.default.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}
	if runtimeConfig != "" {
		flags = append(flags, "--runtime-config="+runtimeConfig)
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
