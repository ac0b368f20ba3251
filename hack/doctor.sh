#!/bin/sh
# Says what is missing to build and test: everything at once, with where to get it.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
missing=0

need() {
	command -v "$1" >/dev/null && return
	printf 'missing: %-6s %s\n' "$1" "$2" >&2
	missing=1
}

need cargo "Rust, by rustup: https://rustup.rs (the version that rust-toolchain.toml names comes by itself)"
need go "Go 1.26 or newer: https://go.dev/dl/"
need git "https://git-scm.com"
need cc "a C compiler, for a library that Rust code links: build-essential, or gcc and libc6-dev"

if command -v go >/dev/null; then
	# GOTOOLCHAIN=local: a Go that is too old is told, and not silently replaced by a download.
	wanted=$(sed -n 's/^go //p' "$root/e2e/cluster/go.mod")
	found=$(GOTOOLCHAIN=local go env GOVERSION)
	oldest=$(printf '%s\n%s\n' "$wanted" "${found#go}" | sort -V | head -n 1)
	if [ "$oldest" != "$wanted" ]; then
		printf 'too old: go is %s, and %s or newer is needed: https://go.dev/dl/\n' "${found#go}" "$wanted" >&2
		missing=1
	fi
fi

if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ]; then
	echo "note: tests that want a node (kubelet, containerd) are not run: they take Linux and root"
elif ! command -v apt-get >/dev/null; then
	echo "note: tests that want a node need containerd, runc, nftables and the CNI plugins installed; only apt-get's are fetched"
fi
if ! command -v apt-get >/dev/null && ! { command -v prometheus && command -v promtool; } >/dev/null; then
	echo "note: tests of alerts and metrics need prometheus and promtool on the PATH; only apt-get's are fetched"
fi
[ "$missing" -ne 0 ] || echo "nothing is missing: $(cargo --version | cut -d ' ' -f 1,2), go ${found#go}, git, cc"
exit "$missing"
