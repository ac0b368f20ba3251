#!/bin/sh
# Prints a kubeconfig for the operator's ServiceAccount (charts/multiarch-operator/templates/rbac.yaml) on the cluster of the current context.
#
# usage: hack/kubeconfig.sh [DURATION] > operator.kubeconfig    24h without DURATION; the cluster may shorten it
set -eu

fail() {
	printf 'kubeconfig: %s\n' "$*" >&2
	exit 1
}

command -v kubectl >/dev/null || fail "kubectl is needed, and there is none on the PATH (make tools builds one: .build/bin/kubectl)"

token=$(kubectl --namespace multiarch-system create token multiarch-operator --duration "${1:-24h}") ||
	fail "apply charts/multiarch-operator/templates/rbac.yaml first"
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
