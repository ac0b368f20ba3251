#!/bin/sh
# Makes the operator's image without a container engine, and prints where its archive is.
#
# usage: hack/image.sh [--dev] [--program FILE] [--target TRIPLE] [--out FOLDER]
#
#   --dev      of what cargo has compiled for tests, statically linked anew: seconds and not minutes, larger, not reproducible
#   --program  of this static program
#   --target   for this platform, in Rust's words; this machine's otherwise. Another one needs its Rust library (rustup target add),
#              C compiler and binutils
#   --out      .build/image/TRIPLE, or .build/image/dev, otherwise
#
# FOLDER gets image.tar, an OCI archive (skopeo copy oci-archive:…), the same as a folder, layout (crane push …), and sbom.cdx.json.
# One commit gives one digest, whatever the folder and the day, by the same Rust, C compiler and glibc.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

main() {
	dev='' program='' target='' out=''
	while [ $# -gt 0 ]; do
		case $1 in
		--dev) dev=yes ;;
		--program | --target | --out)
			[ $# -gt 1 ] || fail "$1 wants a value"
			case $1 in
			--program) program=$(absolute "$2") ;;
			--target) target=$2 ;;
			--out) out=$(absolute "$2") ;;
			esac
			shift
			;;
		*) fail "usage: hack/image.sh [--dev] [--program FILE] [--target TRIPLE] [--out FOLDER]" ;;
		esac
		shift
	done
	[ -z "$dev" ] || [ -z "$program$target" ] || fail "--dev makes its own program, for this machine"

	cd "$root"
	host=$(rustc -vV | sed -n 's/^host: //p')
	target=${target:-$host}
	out=${out:-$root/.build/image/${dev:+dev}}
	case $out in */) out=$out$target ;; esac
	built=${CARGO_TARGET_DIR:-$root/target}
	mkdir -p "$out"
	commit

	if [ -n "$dev" ]; then
		# The very build that `cargo test` makes, so that it compiles nothing that tests do not need.
		cargo test --locked --quiet --workspace --no-run --message-format=json-render-diagnostics >"$out/units.json"
		"$built/debug/multiarch-image" link --units "$out/units.json" --to "$out/program"
		rm "$out/units.json"
		program=$out/program
		set -- "$built/debug/multiarch-image"
	else
		if [ -z "$program" ]; then
			release
			program=$built/$target/release/multiarch-operator
		fi
		cargo build --locked --quiet --package multiarch-image
		set -- "$built/debug/multiarch-image"
	fi
	"$@" image --program "$program" --target "$target" --created "$created" ${revision:+--revision "$revision"} --out "$out" >"$out/digest"
	printf 'image %s, %s bytes\n' "$(cat "$out/digest")" "$(wc -c <"$out/image.tar" | tr -d ' ')" >&2
	echo "$out/image.tar"
}

# The program that is released. No path of this machine reaches it: neither this folder nor cargo's, nor a mirror's name in that.
release() {
	cargo fetch --locked --quiet --target "$target"
	separator=$(printf '\037')
	flags=-Ctarget-feature=+crt-static$separator--remap-path-prefix=$root=/src$separator--remap-path-prefix=$built=/target
	for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
		flags=$flags$separator--remap-path-prefix=$sources=/crates
	done
	# With --target the flags are not for build scripts and macros, which cannot be static.
	CARGO_ENCODED_RUSTFLAGS=$flags cargo build --locked --release --target "$target" --package multiarch-operator >&2
}

# What is built: `revision`, and `created`, the time of the commit.
commit() {
	revision=$(git rev-parse --verify --quiet HEAD) || revision=''
	if [ -n "$revision" ]; then
		created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
		[ -z "$(git status --porcelain)" ] || revision=$revision-dirty
	else
		created=${SOURCE_DATE_EPOCH:-0}
	fi
}

absolute() {
	case $1 in
	/*) printf '%s' "$1" ;;
	*) printf '%s/%s' "$PWD" "$1" ;;
	esac
}

fail() {
	printf 'image: %s\n' "$*" >&2
	exit 1
}

main "$@"
