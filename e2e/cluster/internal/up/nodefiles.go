// What the components of a node are told: flags, and files, which are JSON where the reader takes YAML.
package up

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"multiarch.dev/e2e/cluster/internal/box"
)

type object = map[string]any

func (l layout) nodeKubeconfig(of string) string { return l.private(of + ".kubeconfig") }

func schedulerFlags(l layout) []string {
	return []string{
		"--kubeconfig=" + l.nodeKubeconfig("kube-scheduler"),
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
	}
}

func kubeletFlags(l layout, b *box.Box) []string {
	return []string{
		"--config=" + l.node("kubelet.json"),
		"--kubeconfig=" + l.nodeKubeconfig("kubelet"),
		"--root-dir=" + l.node("kubelet"),
		"--cert-dir=" + l.node("kubelet-pki"),
		"--hostname-override=" + nodeName,
		"--node-ip=" + b.Node.String(),
	}
}

func dnsFlags(l layout, b *box.Box) []string {
	return []string{
		"--kubeconfig=" + l.nodeKubeconfig("dns"),
		"--listen=" + net.JoinHostPort(b.Node.String(), "53"),
		"--domain=" + hostDomain + ".",
		"--host=" + b.Host.String(),
	}
}

// writeNodeKeys makes who the components of a node are to the API server, and it to them.
func (l layout) writeNodeKeys(server string, ca *authority, b *box.Box, now time.Time) error {
	for _, c := range []struct {
		name, user string
		groups     []string
	}{
		{"kube-scheduler", "system:kube-scheduler", nil},
		{"kube-proxy", "system:kube-proxy", nil},
		{"kubelet", "system:node:" + nodeName, []string{"system:nodes"}},
		{"dns", "dns", []string{"system:masters"}},
	} {
		credential, err := ca.client(c.user, c.groups, now)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(l.nodeKubeconfig(c.name), server, ca, c.name, credential); err != nil {
			return err
		}
	}
	caller, err := ca.client("kube-apiserver-kubelet-client", []string{"system:masters"}, now)
	if err != nil {
		return err
	}
	serving, err := ca.server("kubelet", []string{nodeName}, []net.IP{b.Node.AsSlice()}, now)
	if err != nil {
		return err
	}
	return firstError(
		func() error { return caller.write(l.private("kubelet-client")) },
		func() error { return serving.write(l.private("kubelet")) },
	)
}

// writeNodeFiles writes the configuration of all of them.
func (l layout) writeNodeFiles(b *box.Box, snapshotter, plugins string) error {
	if err := os.MkdirAll(l.node("cni"), 0o755); err != nil {
		return err
	}
	return firstError(
		func() error { return writeJSON(l.box(), whereabouts(b)) },
		func() error {
			return os.WriteFile(l.node("containerd.toml"), []byte(containerdTOML(l, snapshotter, plugins)), 0o644)
		},
		func() error { return writeJSON(l.node("cni/10-pods.conflist"), podNetwork(b)) },
		func() error { return writeJSON(l.node("kubelet.json"), kubeletConfig(l, b)) },
		func() error { return writeJSON(l.node("kube-proxy.json"), proxyConfig(l, b)) },
	)
}

func writeJSON(path string, content object) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("failed to write %s: %w", filepath.Base(path), err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// whereabouts is what tests want to know.
func whereabouts(b *box.Box) object {
	return object{"host": b.Host, "domain": hostDomain, "link": b.Link, "cgroup": b.Cgroup}
}

// containerdTOML is in the second version of the format, which containerd 1.6 and all later ones read.
func containerdTOML(l layout, snapshotter, plugins string) string {
	return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # Without CAP_SYS_RESOURCE nobody may be spared more than root is.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  # Its profile would be loaded into the host's kernel.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
`, l.node("containerd"), runtimeSocket, pauseImage, plugins, l.node("cni"), l.registries(), snapshotter)
}

// podNetwork ties each pod to the node by a veth pair. Nothing is masqueraded: the host has a route back.
func podNetwork(b *box.Box) object {
	return object{
		"cniVersion": "0.4.0",
		"name":       "pods",
		"plugins": []object{{
			"type":   "ptp",
			"ipMasq": false,
			"mtu":    1500,
			"ipam": object{
				"type":    "host-local",
				"dataDir": "/run/cni", // inside the box, where /run is its own
				"ranges":  [][]object{{{"subnet": b.Pods.String()}}},
				"routes":  []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

func kubeletConfig(l layout, b *box.Box) object {
	never := "0%"
	return object{
		"apiVersion":     "kubelet.config.k8s.io/v1beta1",
		"kind":           "KubeletConfiguration",
		"address":        b.Node.String(),
		"authentication": object{"anonymous": object{"enabled": false}, "webhook": object{"enabled": true}, "x509": object{"clientCAFile": l.ca()}},
		"authorization":  object{"mode": "Webhook"},
		"tlsCertFile":    l.private("kubelet.crt"), "tlsPrivateKeyFile": l.private("kubelet.key"),
		"readOnlyPort":             0,
		"containerRuntimeEndpoint": "unix://" + runtimeSocket,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               b.Cgroup,
		"failCgroupV1":             false, // cgroup v1 is deprecated, and still what some machines have
		"enforceNodeAllocatable":   []string{},
		"failSwapOn":               false,
		// Full disks of a developer's machine are no reason to evict a test.
		"localStorageCapacityIsolation": false,
		"evictionHard": object{"memory.available": never, "nodefs.available": never, "imagefs.available": never, "nodefs.inodesFree": never,
			"imagefs.inodesFree": never},
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"makeIPTablesUtilChains":      false,
		"clusterDomain":               "cluster.local",
		"clusterDNS":                  []string{b.Node.String()},
		"podLogsDir":                  l.node("pod-logs"),
		"volumePluginDir":             l.node("volume-plugins"),
		"volumeStatsAggPeriod":        "-1s",
		"nodeStatusUpdateFrequency":   "4s",
		"syncFrequency":               "10s",
		"serializeImagePulls":         false,
		"shutdownGracePeriod":         "0s",
		"logging":                     object{"verbosity": 2},
	}
}

func proxyConfig(l layout, b *box.Box) object {
	return object{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"mode":             "nftables",
		"hostnameOverride": nodeName,
		"clientConnection": object{"kubeconfig": l.nodeKubeconfig("kube-proxy")},
		"clusterCIDR":      b.Pods.String(),
		// The host calls Services, too, and wants the answer from where it asked.
		"nftables": object{"masqueradeAll": true, "minSyncPeriod": "100ms", "syncPeriod": "10s"},
		// The kernel's limits of connections are the host's to set.
		"conntrack":          object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
		"bindAddress":        b.Node.String(),
		"healthzBindAddress": "127.0.0.1:10256",
		"metricsBindAddress": "127.0.0.1:10249",
	}
}
