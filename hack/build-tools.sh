#!/bin/sh
# Builds what the tests run against into .build/bin: the cluster (with kubectl and guest), the registry, containerd (and ctr), helm, health, kubeconform,
# and the peer tools; and puts the CRDs of the Prometheus operator there. Puts what the cluster's node runs into .build/bin/node, podman into .build/bin/podman, and
# Prometheus (with promtool) beside them, out of Debian's packages where there is apt-get; nothing is installed.
#
# usage: hack/build-tools.sh [NAME...]    all of them but helm3 and kyverno without a name
#
# A tool is built again only when its sources, its pinned modules, the Go toolchain or this script have changed.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bin=$root/.build/bin
work=$root/.build/apt
all='cluster registry crane regctl skopeo oras manifest-tool containerd helm health kubeconform monitoring-crds node prometheus podman'
# What is built only when it is named.
more='helm3 kyverno'

# What skopeo would need C libraries for, and what it is not used with: a Docker daemon, local container storage.
skopeo_without='containers_image_openpgp containers_image_docker_daemon_stub containers_image_storage_stub
exclude_graphdriver_btrfs exclude_graphdriver_devicemapper'

# What a node runs that is not ours. Ours is a containerd without what runs containers.
node_packages='containerd runc containernetworking-plugins nftables'

main() {
	for name in "$@"; do
		case " $all $more " in
		*" $name "*) ;;
		*) fail "no tool is called '$name'; there are: $all $more" ;;
		esac
	done
	named=$#
	# shellcheck disable=SC2086 # a list of words
	[ $# -gt 0 ] || set -- $all

	command -v go >/dev/null || fail "Go is needed to build the tools that the tests run against, and there is no 'go' on the PATH.
Get it from https://go.dev/dl/ (any 1.26 or later)."

	mkdir -p "$bin"
	cd "$root/e2e/cluster"
	toolchain=$(go env GOVERSION GOOS GOARCH) || fail "'go env' failed; e2e/cluster/go.mod says which version is needed"

	# Two builds at a time would get in each other's way, and would build the same thing twice.
	exec 9>"$root/.build/lock"
	if command -v flock >/dev/null; then flock 9; fi

	rm -rf "$work"
	for name in "$@"; do
		case $name in
		node) fetch_node ;;
		prometheus) fetch_prometheus ;;
		podman) fetch_podman ;;
		*) build "$name" ;;
		esac
	done
	rm -rf "$work"
}

build() {
	name=$1
	key=$(key)
	if [ -e "$bin/$name" ] && [ "$(cat "$bin/.$name.key" 2>/dev/null)" = "$key" ]; then
		return
	fi
	printf 'building %-16s' "$name" >&2
	[ "$name" != cluster ] || printf '(some minutes the first time) ' >&2
	started=$(date +%s)
	if ! compile >"$root/.build/$name.log" 2>&1; then
		printf 'failed:\n' >&2
		tail -n 20 "$root/.build/$name.log" >&2
		fail "$name was not built; the whole log: .build/$name.log"
	fi
	mv -f "$bin/.$name.new" "$bin/$name"
	case $name in
	cluster)
		mv -f "$bin/.guest.new" "$bin/guest"
		ln -sf cluster "$bin/kubectl"
		;;
	containerd) ln -sf containerd "$bin/ctr" ;;
	esac
	printf '%s' "$key" >"$bin/.$name.key"
	printf '%s s\n' "$(($(date +%s) - started))" >&2
}

compile() {
	cd "$(folder)"
	case $name in
	cluster)
		# helm, the kubelet and kubectl refuse a server that does not know its own version.
		CGO_ENABLED=0 go build -trimpath -o "$bin/.guest.new" -ldflags '-s -w' ./guest || return
		release=$(sed -n 's|^\tk8s.io/kubernetes v||p' go.mod)
		minor=${release#*.}
		version=k8s.io/component-base/version
		set -- -ldflags "-s -w -X $version.gitVersion=v$release -X $version.gitMajor=${release%%.*} -X $version.gitMinor=${minor%%.*} \
-X $version.gitTreeState=clean -X $version.gitCommit=unknown" .
		;;
	registry | containerd | health) set -- -ldflags '-s -w' . ;;
	monitoring-crds)
		# Files of a module, pinned and checked as all are; nothing is compiled.
		module=$(sed -n 's|^require \([^ ]*\) .*|\1|p' go.mod)
		go mod download "$module"
		for kind in podmonitors servicemonitors prometheusrules; do
			cat "$(go list -m -f '{{.Dir}}' "$module")/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml"
		done >"$bin/.$name.new"
		return
		;;
	helm3)
		# Else it takes every cluster that it is not told of for one of 1.20.
		client=$(go list -m -f '{{.Version}}' k8s.io/client-go)
		minor=${client#v0.}
		of=helm.sh/helm/v3/pkg
		set -- -ldflags "-s -w -X $of/chartutil.k8sVersionMajor=1 -X $of/chartutil.k8sVersionMinor=${minor%%.*} \
-X $of/lint/rules.k8sVersionMajor=1 -X $of/lint/rules.k8sVersionMinor=${minor%%.*}" "$(sed -n 's|^tool ||p' go.mod)"
		;;
	# The package that the go.mod names as its tool.
	*) set -- -tags "$skopeo_without" -ldflags '-s -w' "$(sed -n 's|^tool ||p' go.mod)" ;;
	esac
	CGO_ENABLED=0 go build -trimpath -o "$bin/.$name.new" "$@"
}

# Only Linux has nodes. Where nothing can be fetched, tests and demo do without one, and say so; so this never fails.
fetch_node() {
	! has_apt || fetch node || printf 'build-tools: there may be no node; cluster can-node says what is missing. The whole log: .build/node.log\n' >&2
}

# Where it cannot be had, what it has once saved is read, and the test says so; so this never fails, either.
fetch_podman() {
	! has_apt || fetch podman || printf 'build-tools: podman was not fetched, so only what it has once saved is read. The whole log: .build/podman.log\n' >&2
}

# Where it cannot be had, its tests fail and the demo does without; so this fails only where it is named.
fetch_prometheus() {
	if has_apt; then
		! fetch prometheus || return 0
		missing='Prometheus was not fetched; the whole log: .build/prometheus.log'
	elif command -v prometheus >/dev/null && command -v promtool >/dev/null; then
		for program in prometheus promtool; do ln -sf "$(command -v $program)" "$bin/$program"; done
		rm -f "$bin/.prometheus.key"
		return 0
	else
		missing="there is no apt-get to fetch Debian's Prometheus with, and there are no 'prometheus' and 'promtool' on the PATH; install them"
	fi
	[ "$named" -eq 0 ] || fail "$missing"
	printf 'build-tools: %s (without it, tests of alerts and metrics fail)\n' "$missing" >&2
}

has_apt() {
	[ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null
}

fetch() {
	name=$1
	key=$({
		cat /etc/os-release "$root/hack/build-tools.sh"
		dpkg --print-architecture
	} | cksum_of)
	[ "$(cat "$bin/.$name.key" 2>/dev/null)" != "$key" ] || return 0
	printf 'fetching %-16s' "$name" >&2
	started=$(date +%s)
	rm -rf "$bin/.$name.new"
	mkdir -p "$bin/.$name.new"
	if ! "unpack_$name" >"$root/.build/$name.log" 2>&1; then
		printf 'failed:\n' >&2
		tail -n 5 "$root/.build/$name.log" >&2
		return 1
	fi
	printf '%s' "$key" >"$bin/.$name.key"
	printf '%s s\n' "$(($(date +%s) - started))" >&2
}

unpack_node() {
	# shellcheck disable=SC2086 # a list of words
	unpack $node_packages
}

unpack_podman() {
	unpack podman
}

# Unpacks the packages of these names, and those that they need, into the folder of $name.
unpack() {
	rm -f "$work/cache/archives"/*.deb
	# Only what is not installed is downloaded.
	apt_get install --yes --download-only --no-install-recommends "$@" || return
	for package in "$work/cache/archives"/*.deb; do
		[ ! -e "$package" ] || dpkg -x "$package" "$bin/.$name.new" || return
	done
	rm -rf "$bin/.$name.new/usr/share" "$bin/.$name.new/etc" "${bin:?}/$name"
	mv "$bin/.$name.new" "$bin/$name"
}

# Installed or not; and without the packages that its pages for people want.
unpack_prometheus() {
	mkdir -p "$work/prometheus"
	(cd "$work/prometheus" && apt_get download prometheus) || return
	dpkg -x "$work/prometheus"/prometheus_*.deb "$bin/.prometheus.new" || return
	for program in prometheus promtool; do mv -f "$bin/.prometheus.new/usr/bin/$program" "$bin/$program" || return; done
	rm -rf "$bin/.prometheus.new"
}

# Lists, cache and locks of our own: any user may, and the machine's stay as they are.
apt_get() {
	if [ ! -e "$work/updated" ]; then
		mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
		own_apt_get update || return
		: >"$work/updated"
	fi
	own_apt_get "$@"
}

own_apt_get() {
	apt-get -q -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" "$@"
}

folder() {
	if [ "$name" = cluster ]; then echo "$root/e2e/cluster"; else echo "$root/e2e/tools/$name"; fi
}

key() {
	{
		echo "$toolchain"
		cd "$(folder)"
		find . -type f \( -name '*.go' -o -name go.mod -o -name go.sum \) ! -name '*_test.go' | LC_ALL=C sort | while read -r file; do
			echo "$file"
			cat "$file"
		done
		cat "$root/hack/build-tools.sh"
	} | cksum_of
}

cksum_of() {
	if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

fail() {
	printf 'build-tools: %s\n' "$*" >&2
	exit 1
}

main "$@"
