#!/bin/sh
# Keeps of the corpus of a fuzz target, and of its finds, small files that reach the most: hack/corpus.sh TARGET [FILES] [BYTES]
# Files with a name of their own stay; those that fuzzing found have their SHA-1 for a name, and there are at most FILES, each of at most BYTES.
set -eu

target=$1
files=${2:-128}
bytes=${3:-700}
found='????????????????????????????????????????'
cd "$(dirname -- "$0")/../operator/fuzz"
work=found/.$target
rm -rf "$work"
mkdir -p "found/$target" "$work/own" "$work/found" "$work/out"
find "corpus/$target" -type f ! -name "$found" -exec cp -t "$work/own" {} +
for from in corpus found; do
	find "$from/$target" -type f -name "$found" -size "-$((bytes + 1))c" -exec cp -t "$work/found" {} +
done
cargo +nightly fuzz build --fuzz-dir . "$target"
# What each of them reaches is written down on the way.
"target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release/$target" -set_cover_merge=1 -use_counters=0 -max_len=8192 \
	-merge_control_file="$work/control" "$work/out" "$work/own" "$work/found" 2>/dev/null

# The one that adds the most, again and again; of two that add as much, the smaller one, which comes first.
awk -v most="$files" '
NR == 1 { count = $1; next }
NR <= 2 { next }
NR <= count + 2 { path[NR - 3] = $0; next }
$1 == "FT" { line = $0; sub(/^FT [0-9]+ ?/, "", line); reaches[$2] = line }
function adds(i, take,    n, edges, k, new) {
	n = split(reaches[i], edges, " ")
	for (k = 1; k <= n; k++)
		if (!(edges[k] in reached)) {
			new++
			if (take) reached[edges[k]] = 1
		}
	return new + 0
}
END {
	for (i = 0; i < count; i++) {
		if (path[i] ~ /\/own\//) adds(i, 1)
		else might[i] = 1e9
	}
	for (kept = 0; kept < most; kept++) {
		best = -1
		# What a file adds only ever falls, so that what it once added bounds what it adds now.
		for (i = 0; i < count; i++)
			if (might[i] > 0 && (best < 0 || might[i] > might[best])) {
				might[i] = adds(i, 0)
				if (might[i] > 0 && (best < 0 || might[i] > might[best])) best = i
			}
		if (best < 0) break
		adds(best, 1)
		might[best] = 0
		print path[best]
	}
}' "$work/control" | while read -r path; do
	cp "$path" "$work/own"
done
rm -rf "corpus/$target"
mv "$work/own" "corpus/$target"
rm -rf "$work"
printf '%s: %s files, %s bytes\n' "$target" "$(find "corpus/$target" -type f | wc -l)" "$(cat "corpus/$target"/* | wc -c)" >&2
