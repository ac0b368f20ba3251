#!/bin/sh
# Prints a kubeconfig for the ServiceAccount that the chart makes, multiarch-operator in multiarch-system, on the cluster of the current context.
#
# usage: hack/kubeconfig.sh [DURATION] > operator.kubeconfig    24h without DURATION; the cluster may shorten it
set -eu

fail() {
	printf 'kubeconfig: %s\n' "$*" >&2
	exit 1
}

command -v kubectl >/dev/null || fail "kubectl is needed, and there is none on the PATH (make tools builds one: .build/bin/kubectl)"

token=$(kubectl --namespace multiarch-system create token multiarch-operator --duration "${1:-24h}") ||
	fail "install the chart first: helm install multiarch-operator charts/multiarch-operator --namespace multiarch-system --create-namespace --set replicaCount=0"
# The cluster of the current context, and nothing of its user.
cluster=$(kubectl config view --raw --flatten --minify --output 'jsonpath={.clusters[0].cluster}') || fail "there is no current context"

# JSON is YAML.
cat <<KUBECONFIG
apiVersion: v1
kind: Config
clusters:
- {name: cluster, cluster: $cluster}
users:
- {name: multiarch-operator, user: {token: $token}}
contexts:
- {name: multiarch-operator, context: {cluster: cluster, user: multiarch-operator}}
current-context: multiarch-operator
KUBECONFIG
