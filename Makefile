# What one does with the source tree. Each target calls a program or a script that can be called without make too.
#
#   make up [DATABASE=postgresql] [CLUSTER=current [REGISTRY=host/path]]
#   make test [STORY=n | STORY=fire_n]
#   make bench [BENCH="--quick --part burst ..."]    (`Error 1`: a required figure is missed, `Error 3`: one was not shown)

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/threeport
# Builds are kept in the cache, where every checkout finds them; e2e/checkout.sh tells those of another one.
export CARGO_TARGET_DIR ?= $(cache)/target
# The pinned cargo tools that `make test` installs.
export PATH := $(cache)/tools/bin:$(PATH)

ifeq ($(CLUSTER),current)
up_options := --cluster current
else
up_options := --cluster testbed
prepare := e2e/testbed/prepare.sh
endif
# A word that was mistyped must not start another cluster, or look at nothing.
known = $(if $(filter-out $(2),$($(1))),$(error $(1)=$($(1)) is not known; there are: $(2)))
up := cargo run --locked --package threeport-testbed --bin threeport-up --

.DEFAULT_GOAL := help
.PHONY: help up down dev test soak bench mutants lint fmt generate

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: ## bring up Kubernetes, the control plane and the sample
	@$(call known,CLUSTER,testbed current)$(call known,DATABASE,sqlite postgresql)$(prepare)
	@e2e/checkout.sh
	@$(up) up $(up_options) $(if $(DATABASE),--database $(DATABASE)) $(if $(REGISTRY),--registry $(REGISTRY))

down: ## remove what `make up` started
	@$(call known,CLUSTER,testbed current)e2e/checkout.sh
	@$(up) down $(up_options)

dev: ## run the control plane as processes of this machine, until Ctrl-C
	@$(call known,CLUSTER,testbed)$(call known,DATABASE,sqlite)$(prepare)
	@e2e/checkout.sh
	@$(up) dev

test: ## run every test, or those of one number
	@STORY=$(STORY) e2e/test.sh

soak: ## run the long forms of all stories, an hour or so
	@e2e/soak.sh

bench: ## measure speed against a bare loop, and hold the required figures
	@$(prepare)
	@e2e/checkout.sh
	@cargo build --locked --quiet --profile image --package threeport-testbed --package threeport-bench
	@$(CARGO_TARGET_DIR)/image/threeport-bench $(BENCH)

mutants: ## prove that each answer has a test that fails without it
	@e2e/mutants/run.sh $(MUTANT)

lint: ## check format, lints and dependencies
	cargo fmt --all --check
	@e2e/checkout.sh
	cargo clippy --locked --workspace --all-targets --features threeport-failpoint/failpoints -- -D warnings
	e2e/dependencies.sh

fmt: ## format the sources
	cargo fmt --all

generate: ## write anew what is generated and checked in
	@e2e/checkout.sh
	cargo run --locked --package threeport-crds --bin crdgen
	cargo run --locked --package threeport-server --bin threeport-api -- generate openapi > api/server/openapi.json.new
	mv api/server/openapi.json.new api/server/openapi.json
	UPDATE_REFERENCE=1 cargo test --locked --package tptctl --test reference
	UPDATE_REFERENCE=1 cargo test --locked --package threeport-server --package threeport-operator --package threeport-agent the_metrics_are_those_of_the_reference
	REGENERATE=1 cargo test --locked --package threeport-sample
	UPDATE=1 cargo test --locked --no-fail-fast --package threeport-chart
