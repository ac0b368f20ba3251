#!/bin/sh
# Makes the operator's image without a container engine, and prints where its archive is.
#
# usage: hack/image.sh [--dev] [--program FILE] [--target TRIPLE] [--out FOLDER | --root FOLDER]
#
#   --dev      of what cargo has compiled for tests, statically linked anew: seconds and not minutes, larger, not reproducible.
#              UNITS names the cargo command whose build that is; `test --workspace --no-run` otherwise
#   --program  of this static program
#   --target   for this platform, in Rust's words; this machine's otherwise. Another one needs its Rust library (rustup target add),
#              and its C compiler with the static C library (Debian: gcc-ARCH-linux-gnu)
#   --out      .build/image/TRIPLE, or .build/image/dev, otherwise
#   --root     only the files of the image, into this folder, which must not be there yet
#
# The folder of --out gets image.tar, an OCI archive (skopeo copy oci-archive:…), the same as a folder, layout (crane push …), sbom.cdx.json
# and digest. One commit gives one digest, whatever the folder and the day, by the same Rust, C compiler and glibc.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

main() {
	dev='' program='' target='' out='' files=''
	while [ $# -gt 0 ]; do
		case $1 in
		--dev) dev=yes ;;
		--program | --target | --out | --root)
			[ $# -gt 1 ] || fail "$1 wants a value"
			case $1 in
			--program) program=$(absolute "$2") ;;
			--target) target=$2 ;;
			--out) out=$(absolute "$2") ;;
			--root) files=$(absolute "$2") ;;
			esac
			shift
			;;
		*) fail "usage: hack/image.sh [--dev] [--program FILE] [--target TRIPLE] [--out FOLDER | --root FOLDER]" ;;
		esac
		shift
	done
	[ -z "$dev" ] || [ -z "$program$target" ] || fail "--dev makes its own program, for this machine"
	[ -z "$files" ] || [ -z "$out" ] || fail "--out or --root, not both"

	cd "$here"
	host=$(rustc -vV | sed -n 's/^host: //p')
	target=${target:-$host}
	built=${CARGO_TARGET_DIR:-$here/target}
	name=$target
	[ -z "$dev" ] || name=dev
	out=${out:-$here/.build/image/$name}
	[ "$target" = "$host" ] || cross
	mkdir -p "$here/.build"

	if [ -n "$dev" ]; then
		# The very build that the tests are of, so that it compiles nothing that they do not need.
		units=$here/.build/units.json
		# shellcheck disable=SC2086 # a list of words
		cargo ${UNITS:-test --workspace --no-run} --locked --quiet --message-format=json-render-diagnostics >"$units"
		program=$here/.build/multiarch-operator.static
		"$built/debug/multiarch-image" link --units "$units" --to "$program"
		rm "$units"
	else
		if [ -z "$program" ]; then
			release
			program=$built/$target/release/multiarch-operator
		fi
		cargo build --locked --quiet --package multiarch-image
	fi
	if [ -n "$files" ]; then
		"$built/debug/multiarch-image" root --program "$program" --target "$target" --to "$files"
		echo "$files"
		return
	fi
	commit
	mkdir -p "$out"
	"$built/debug/multiarch-image" image --program "$program" --target "$target" \
		--created "$created" ${revision:+--revision "$revision"} --out "$out" >"$out/digest"
	printf 'image %s, %s bytes\n' "$(cat "$out/digest")" "$(wc -c <"$out/image.tar" | tr -d ' ')" >&2
	echo "$out/image.tar"
}

# The program that is released. No path of this machine reaches it: neither this folder nor cargo's, nor a mirror's name in that.
release() {
	cargo fetch --locked --quiet --target "$target"
	separator=$(printf '\037')
	flags=-Ctarget-feature=+crt-static$separator--remap-path-prefix=$here=/src$separator--remap-path-prefix=$built=/target
	for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
		flags=$flags$separator--remap-path-prefix=$sources=/crates
	done
	# With --target the flags are not for build scripts and macros, which cannot be static.
	CARGO_ENCODED_RUSTFLAGS=$flags cargo build --locked --release --target "$target" --package multiarch-operator >&2
}

# The names that Debian gives to the tools for another platform. (The one for C that libraries need is found by itself.)
cross() {
	case $target in
	armv7-unknown-linux-gnueabihf) prefix=arm-linux-gnueabihf ;;
	*) prefix=$(printf '%s' "$target" | sed 's/^riscv64gc/riscv64/; s/-unknown//') ;;
	esac
	linker=CARGO_TARGET_$(printf '%s' "$target" | tr 'a-z-' 'A-Z_')_LINKER
	eval "export $linker=\"\${$linker:-$prefix-gcc}\""
	export OBJCOPY="${OBJCOPY:-$prefix-objcopy}"
	eval "command -v \"\$$linker\"" >/dev/null || fail "$target needs a C compiler of its own (Debian: gcc-$prefix), and there is no $prefix-gcc"
}

# What is built: `revision`, and `created`, the time of the commit.
commit() {
	revision=$(git rev-parse --verify --quiet HEAD 2>/dev/null) || revision=''
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
