#!/bin/sh
# Prints a kubeconfig for the ServiceAccount multiarch-operator of the current cluster, good for a day.
#   hack/kubeconfig.sh > operator.kubeconfig
# Environment: KUBECTL (kubectl), NAMESPACE (multiarch-system), DURATION (24h).
set -eu
kubectl=${KUBECTL:-kubectl}
namespace=${NAMESPACE:-multiarch-system}
account=multiarch-operator

command -v "$kubectl" >/dev/null || { echo "kubeconfig.sh: $kubectl is not on the PATH" >&2; exit 1; }
token=$("$kubectl" -n "$namespace" create token "$account" --duration="${DURATION:-24h}") || {
    echo "kubeconfig.sh: no token for $namespace/$account; was charts/multiarch-operator/templates/rbac.yaml applied?" >&2
    exit 1
}
cluster() {
    "$kubectl" config view --minify --flatten --raw -o jsonpath="{.clusters[0].cluster.$1}"
}
authority=$(cluster certificate-authority-data)
cat <<CONFIG
apiVersion: v1
kind: Config
current-context: operator
contexts:
- name: operator
  context: {cluster: cluster, user: operator, namespace: $namespace}
clusters:
- name: cluster
  cluster:
    server: "$(cluster server)"
${authority:+    certificate-authority-data: "$authority"}
users:
- name: operator
  user: {token: "$token"}
CONFIG
