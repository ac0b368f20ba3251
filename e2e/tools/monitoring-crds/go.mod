module multiarch.dev/e2e/tools/monitoring-crds

go 1.26.0

// Files of it alone are used: hack/build-tools.sh copies them.
require github.com/prometheus-operator/prometheus-operator v0.85.0
