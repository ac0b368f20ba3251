// What a node is made of, which builds on Linux only.
package main

import (
	"context"

	"github.com/spf13/cobra"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func init() {
	components["kube-scheduler"] = upstream(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	components["kube-proxy"] = upstream(proxy.NewProxyCommand)
	components["kubelet"] = upstream(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) })
	components["dns"] = runDNS
}
