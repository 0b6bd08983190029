# Every command that a person needs; CI calls the same targets. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

PREFIX ?= /usr/local
CARGO := cargo

.PHONY: sandbox
sandbox: ## A cluster to try everything on. DEMO=1 shows it, KERNEL=daemon the node daemon's switch, PODS=1 real-time pods.
	@hack/setup.sh build
	$(CARGO) build --locked --package realtime-operator --package realtime-node-daemon --package oc-realtime \
		--package realtime-testing --bin realtime-operator --bin realtime-node-daemon --bin oc-realtime \
		--bin rpm-ostree-standin --bin sandbox --bin sandbox-pods
	# In place of the shell, so that Ctrl-C reaches it alone; it does its own cleaning up.
	exec env DEMO="$(DEMO)" KERNEL="$(KERNEL)" RUNTIME="$(RUNTIME)" target/debug/sandbox$(if $(PODS),-pods)

.PHONY: test
test: ## Everything that has to hold before a change is merged.
	@hack/test.sh

.PHONY: test-vm
test-vm: ## The tests in a machine with a real PREEMPT_RT kernel (they are part of `test`), with what they found.
	@hack/setup.sh test
	$(CARGO) test --locked --package realtime-testing --test vm -- --nocapture
	$(CARGO) test --locked --package realtime-node-daemon --test vm --test vm_cluster -- --nocapture

.PHONY: test-churn
test-churn: ## 10,000 pods (CHURN_PODS=…) come and go under a daemon that is killed again and again; `test` has 600.
	@hack/setup.sh test
	CHURN_PODS=$${CHURN_PODS:-10000} $(CARGO) test --locked --package realtime-node-daemon --test churn -- --nocapture

.PHONY: test-fuzz
test-fuzz: ## The property tests with a large number of cases (CASES=…), in release mode.
	@PROPTEST_CASES=$${CASES:-200000} $(CARGO) test --locked --release --package realtime-core

.PHONY: lint
lint: ## Format, clippy and the walls between the crates.
	@$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	hack/walls.sh

.PHONY: audit
audit: ## Known vulnerabilities in the dependencies; needs cargo-deny and the network.
	@$(CARGO) deny check advisories

.PHONY: bench
bench: ## Times and memory, with the numbers to compare them with.
	@hack/setup.sh build
	$(CARGO) bench --locked --workspace --benches
	$(CARGO) build --locked --release --package oc-realtime --package realtime-operator --package realtime-testing \
	  --bin oc-realtime --bin realtime-operator --bin rpm-ostree-standin \
	  --bin bench-render --bin bench-operator --bin bench-daemon --bin bench-pods
	$(CARGO) build --locked --profile small --package realtime-node-daemon --bin realtime-node-daemon
	target/release/bench-render
	# Takes five minutes: a container every tenth of a second, on a node of real parts.
	# Three more where the Python rt-operator is installed: on PATH, or named by RT_OPERATOR.
	target/release/bench-pods
	# Takes nine minutes, five of which nothing happens.
	target/release/bench-daemon
	# Takes five minutes, and 3 GB of memory: two clusters of 5,000 nodes, one after the other.
	target/release/bench-operator

.PHONY: crds
crds: ## Writes the generated manifests/crds anew.
	@$(CARGO) run --locked --quiet --package oc-realtime -- crds -o manifests/crds

.PHONY: manifests
manifests: crds ## All generated manifests.

.PHONY: docs
docs: ## Writes the generated documents anew: kernel arguments, profile reference, transcripts of commands.
	@UPDATE_GOLDEN=1 $(CARGO) test --locked --quiet --package realtime-core --lib --test golden_render
	UPDATE_GOLDEN=1 $(CARGO) test --locked --quiet --package oc-realtime --test docs --test crds

.PHONY: install
install: ## Installs `oc realtime` below PREFIX (default /usr/local).
	@hack/setup.sh build
	$(CARGO) build --locked --release --package oc-realtime
	install -D -m 755 target/release/oc-realtime "$(DESTDIR)$(PREFIX)/bin/oc-realtime"
	ln -sf oc-realtime "$(DESTDIR)$(PREFIX)/bin/kubectl-realtime"

.PHONY: help
help: ## This list.
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
