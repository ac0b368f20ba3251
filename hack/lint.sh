#!/bin/sh
# Formatting and lints. What may be absent (shellcheck, actionlint, cargo-deny) is used where it is installed.
set -eu

cd "$(dirname -- "$0")/.."

step() {
	printf '==> %s\n' "$*" >&2
	"$@"
}

step cargo fmt --check
step cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
# What no plain `cargo test` builds.
step cargo clippy --locked --quiet --workspace --test kyverno -- -D warnings

unformatted=$(gofmt -l e2e)
if [ -n "$unformatted" ]; then
	printf 'not formatted (make fmt):\n%s\n' "$unformatted" >&2
	exit 1
fi

if command -v shellcheck >/dev/null; then
	step shellcheck hack/*.sh e2e/cluster/*.sh .ci/run
fi
if command -v actionlint >/dev/null; then
	step actionlint
fi
if command -v cargo-deny >/dev/null; then
	step cargo deny --offline check bans licenses sources
fi
