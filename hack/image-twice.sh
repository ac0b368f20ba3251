#!/bin/sh
# Builds the image of the commit twice, in two clones with their own names and nothing compiled, and compares the digests: hack/image-twice.sh
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The second one with another umask, time zone and language.
git clone --quiet "$here" "$work/one"
git clone --quiet "$here" "$work/somewhere else/entirely"
unset CARGO_TARGET_DIR SOURCE_DATE_EPOCH
(cd "$work/one" && hack/image.sh >&2)
(cd "$work/somewhere else/entirely" && umask 077 && TZ=Asia/Kathmandu LC_ALL=C hack/image.sh >&2)

name=$(rustc -vV | sed -n 's/^host: //p')
one=$work/one/.build/image/$name
other="$work/somewhere else/entirely/.build/image/$name"
for file in digest image.tar sbom.cdx.json; do
	cmp "$one/$file" "$other/$file" || {
		printf 'image-twice: two builds of one commit differ in %s\n' "$file" >&2
		exit 1
	}
done
printf 'both are %s\n' "$(cat "$one/digest")"
