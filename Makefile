# Every command that a person runs. `make` alone prints them.

SHELL := /bin/sh
CARGO ?= cargo
# As the tools are built, so that nothing is compiled twice.
GO := CGO_ENABLED=0 go
# Never other dependencies than those that were tested.
LOCKED := --locked
# End-to-end tests mostly wait, so several run for each core; each has an operator and a registry of its own.
E2E_THREADS ?= 8

.DEFAULT_GOAL := help
.PHONY: help doctor tools operator build test unit e2e node soak bench bench-cli fuzz corpus conformance helm3 kyverno lint fmt crds docs-cli demo large cli image image-twice clean

help: ## Print this
	@echo "usage: make COMMAND"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

doctor: ## Say what is missing on this machine
	@hack/doctor.sh

demo: doctor tools ## See the product at work: Kubernetes, a registry, the chart, a published index and a Pod of it (KEEP=1 leaves it running)
	@echo "building the operator, its image and the demo (some minutes the first time)"
	@if "$${MULTIARCH_BIN:-.build/bin}/cluster" can-node >/dev/null 2>&1; then UNITS="build --workspace --bins" hack/image.sh --dev >/dev/null; \
		else $(CARGO) build $(LOCKED) --workspace --bins; fi
	@"$${CARGO_TARGET_DIR:-target}/debug/demo"

test: doctor tools ## Test everything: units, contracts, and the README's promises on a real API server and registry
	cd e2e/cluster && $(GO) vet -trimpath ./internal/... ./guest && $(GO) test -trimpath ./internal/...
	cd e2e/tools/registry && $(GO) vet -trimpath .
	cd e2e/tools/containerd && $(GO) vet -trimpath .
	cd e2e/tools/health && $(GO) vet -trimpath .
	cd e2e/fixtures && $(GO) vet -trimpath .
	@hack/image.sh --dev
	RUST_TEST_THREADS=$(E2E_THREADS) $(CARGO) test $(LOCKED) --workspace --no-fail-fast
	@"$${MULTIARCH_BIN:-.build/bin}/cluster" can-node >/dev/null || echo "NOT RUN HERE: the tests that want a node (e2e/tests/node), for what is said above" >&2

unit: doctor ## Test what needs no cluster
	@hack/build-tools.sh registry
	$(CARGO) test $(LOCKED) --workspace --exclude multiarch-e2e

e2e: doctor tools ## Test the README's promises only (T=late:: for some of them)
	@UNITS="build --workspace --bins" hack/image.sh --dev
	$(CARGO) test $(LOCKED) --workspace --test promises --test node -- --test-threads $(E2E_THREADS) $(T)

node: doctor tools ## Test only what wants a node: the chart's Pods on a real kubelet (as root; MULTIARCH_E2E_NODE=required where one must be)
	@UNITS="build --workspace --bins" hack/image.sh --dev
	$(CARGO) test $(LOCKED) --workspace --test node -- --test-threads $(E2E_THREADS) $(T)

fuzz: doctor ## Look for bytes that break a rule of operator/src/fuzzing.rs (T=manifest SECONDS=600; needs nightly Rust and cargo-fuzz)
	@[ -d "operator/fuzz/corpus/$(T)" ] && [ -n "$(T)" ] || { echo "usage: make fuzz T=TARGET [SECONDS=600], where TARGET is one of:" $$(ls operator/fuzz/corpus) >&2; exit 2; }
	cd operator/fuzz && mkdir -p "found/$(T)" && $(CARGO) +nightly fuzz run --fuzz-dir . "$(T)" "found/$(T)" "corpus/$(T)" -- \
		-max_total_time=$(or $(SECONDS),600) -max_len=8192 -dict="dict/$(T).dict"

corpus: doctor ## Keep the fewest files that reach what a fuzz target's corpus and finds reach (T=manifest)
	@[ -d "operator/fuzz/corpus/$(T)" ] && [ -n "$(T)" ] || { echo "usage: make corpus T=TARGET, where TARGET is one of:" $$(ls operator/fuzz/corpus) >&2; exit 2; }
	@hack/corpus.sh "$(T)"

soak: doctor tools ## Break things for as long as it takes to be sure (half an hour or so), and print what was measured (T=kills:: or T=model:: for some of it)
	$(CARGO) build $(LOCKED) --workspace --bins
	MULTIARCH_SOAK=1 $(CARGO) test $(LOCKED) --workspace --test reconcile -- --nocapture $(or $(T),model:: laws)
	MULTIARCH_SOAK=1 $(CARGO) test $(LOCKED) --workspace --test soak -- --nocapture --test-threads 2 $(T)
	MULTIARCH_SOAK=1 $(CARGO) test $(LOCKED) --workspace --test admission -- --nocapture $(or $(T),restart::)

bench: doctor tools ## Say what the policies of admission cost: how long the API server takes for a Pod, without them and with them
	$(CARGO) bench $(LOCKED) --quiet --profile dev --workspace --bench admission

bench-cli: doctor tools build ## Say what kubectl-multiarch asks of registries and how long it takes, beside crane, regctl and skopeo
	MULTIARCH_CLI="$(CURDIR)/$${CARGO_TARGET_DIR:-target}/release/kubectl-multiarch" \
		$(CARGO) bench $(LOCKED) --quiet --profile dev --workspace --bench cli

large: doctor tools build ## Copy a layer of 4 GiB and load archives of 4 GiB with the release build, and say what memory that took (LAYER_MIB=4096; the first test holds it in memory)
	MULTIARCH_OPERATOR="$(CURDIR)/$${CARGO_TARGET_DIR:-target}/release/multiarch-operator" MULTIARCH_LAYER_MIB=$(or $(LAYER_MIB),4096) \
		$(CARGO) test $(LOCKED) --quiet --workspace --test promises -- --nocapture copy_large
	MULTIARCH_CLI="$(CURDIR)/$${CARGO_TARGET_DIR:-target}/release/kubectl-multiarch" MULTIARCH_LAYER_MIB=$(or $(LAYER_MIB),4096) \
		$(CARGO) test $(LOCKED) --quiet --workspace --test cli -- --nocapture --test-threads 1 memory::

conformance: doctor ## Try all that is asked of a registry on a real one (REGISTRY=host/prefix, see CONTRIBUTING.md)
	@[ -n "$(REGISTRY)" ] || { echo "usage: make conformance REGISTRY=host/prefix [DOCKER_CONFIG=folder] [PLAIN_HTTP=1] [TOKEN_REALM=HOST=URL]" >&2; exit 2; }
	@MULTIARCH_CONFORMANCE_REGISTRY="$(REGISTRY)" DOCKER_CONFIG="$(DOCKER_CONFIG)" PLAIN_HTTP="$(PLAIN_HTTP)" TOKEN_REALM="$(TOKEN_REALM)" \
		RUST_BACKTRACE=0 $(CARGO) test $(LOCKED) --quiet --workspace --test conformance

lint: doctor ## Formatting, clippy, and what else is installed: gofmt, shellcheck, actionlint, cargo-deny
	@hack/lint.sh

fmt: ## Format Rust and Go
	$(CARGO) fmt
	gofmt -w e2e

helm3: doctor tools ## Test the chart with Helm 3 instead of 4
	@hack/build-tools.sh helm3
	$(CARGO) build $(LOCKED) --workspace --bins
	MULTIARCH_HELM=helm3 $(CARGO) test $(LOCKED) --workspace --test chart -- --test-threads $(E2E_THREADS)

kyverno: doctor tools ## Test examples/kyverno by Kyverno's own CLI, whose first build takes long
	@hack/build-tools.sh kyverno
	$(CARGO) build $(LOCKED) --workspace --bins
	$(CARGO) test $(LOCKED) --workspace --test kyverno

crds: ## Write the CRDs anew from their types, here and in the chart
	$(CARGO) run $(LOCKED) --quiet --package multiarch-crds --bin crdgen

docs-cli: ## Write docs/cli.md anew from the commands and flags of kubectl-multiarch
	UPDATE=1 $(CARGO) test $(LOCKED) --quiet --workspace --bin kubectl-multiarch docs::

build: ## Build the operator for release
	$(CARGO) build $(LOCKED) --release --package multiarch-operator

cli: ## Build kubectl-multiarch for release, and print where it is: copy it to a folder on your PATH
	@$(CARGO) build $(LOCKED) --release --package multiarch-operator --bin kubectl-multiarch
	@echo "$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/kubectl-multiarch"

image: doctor ## Make the operator's image of this commit as an OCI archive, without a container engine (hack/image.sh has more)
	@hack/image.sh

image-twice: doctor ## Make it twice, in two clones with nothing compiled, and compare the digests
	@hack/image-twice.sh

operator: ## Build the operator for tests
	$(CARGO) build $(LOCKED) --workspace --bins

tools: ## Build the cluster, what its node runs, the registry, containerd, helm, Prometheus and the peer tools that tests run against (.build/bin)
	@hack/build-tools.sh

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf .build .demo
