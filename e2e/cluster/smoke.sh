#!/usr/bin/env bash
# What the supervisor promises and no test of the operator would notice: clusters side by side, a kind known to garbage collection from the
# start, an end that leaves nothing behind. Needs the tools built (hack/build-tools.sh cluster).
#
# usage: e2e/cluster/smoke.sh
set -euo pipefail

bin=$(cd "$(dirname "$0")/../../.build/bin" && pwd)
work=$(mktemp -d)
declare -A supervisor

main() {
	trap clean EXIT
	write_crd
	up one --crds "$work/crd.yaml"
	up two
	wait_ready one
	wait_ready two

	say 'two clusters, each with objects of its own'
	on one create namespace here >/dev/null
	[ -z "$(on two get namespace here --ignore-not-found)" ]

	say 'tokens of ServiceAccounts, held to RBAC'
	on one -n here create serviceaccount reader >/dev/null
	[ "$(on one -n here create token reader | tr -cd . | wc -c)" -eq 2 ]
	[ "$(on one auth can-i list secrets --as system:serviceaccount:here:reader || true)" = no ]

	say 'garbage collection follows an owner of a custom kind'
	echo '{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"owner","namespace":"here"}}' | on one create -f - >/dev/null
	uid=$(on one -n here get widget owner -o 'jsonpath={.metadata.uid}')
	cat <<-OBJECT | on one create -f - >/dev/null
		{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"child","namespace":"here",
		 "ownerReferences":[{"apiVersion":"example.com/v1","kind":"Widget","name":"owner","uid":"$uid"}]}}
	OBJECT
	on one -n here delete widget owner >/dev/null
	on one -n here wait --for=delete configmap/child --timeout=20s >/dev/null

	say 'a supervisor that is killed takes its children along'
	killed=$(children one)
	[ "$(wc -w <<<"$killed")" -eq 3 ]
	kill -KILL "${supervisor[one]}"
	wait "${supervisor[one]}" 2>/dev/null || true
	gone "$killed"

	say 'a child that ends is told, and ends the rest'
	rest=$(children two)
	kill -KILL "$(first_of "$rest")"
	if wait "${supervisor[two]}"; then fail 'cluster up said that all is well'; fi
	grep -q '^cluster: .* ended (signal: killed)' "$work/two.err" || fail "$(cat "$work/two.err")"
	gone "$rest"

	say 'the end of its standard input is the end of the cluster'
	"$bin/cluster" up --dir "$work/three" --until-stdin-closes </dev/null >"$work/three.out" || fail 'it failed'
	[ ! -s "$work/three.out" ]
	say 'ok'
}

up() {
	"$bin/cluster" up --dir "$work/$1" "${@:2}" >"$work/$1.out" 2>"$work/$1.err" &
	supervisor[$1]=$!
}

wait_ready() {
	for _ in $(seq 600); do
		[ ! -s "$work/$1.out" ] || return 0
		kill -0 "${supervisor[$1]}" 2>/dev/null || fail "$(cat "$work/$1.err")"
		sleep 0.1
	done
	fail "cluster $1 did not become ready"
}

on() { "$bin/kubectl" --kubeconfig "$work/$1/kubeconfig" "${@:2}"; }

children() { cat "/proc/${supervisor[$1]}/task/"*/children; }

first_of() { echo "${1%% *}"; }

gone() {
	for pid in $1; do
		for _ in $(seq 50); do
			# A zombie is gone, too: only its new parent has not noticed.
			grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" || continue 2
			sleep 0.1
		done
		fail "process $pid is still there"
	done
}

write_crd() {
	cat >"$work/crd.yaml" <<-CRD
		apiVersion: apiextensions.k8s.io/v1
		kind: CustomResourceDefinition
		metadata: {name: widgets.example.com}
		spec:
		  group: example.com
		  scope: Namespaced
		  names: {kind: Widget, plural: widgets, singular: widget}
		  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
	CRD
}

say() { echo "smoke: $*"; }

fail() {
	echo "smoke: failed: $*" >&2
	exit 1
}

clean() {
	for pid in "${supervisor[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait
	rm -rf "$work"
}

main
