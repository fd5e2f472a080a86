# Everything a contributor types. It needs Go, a C compiler (SQLite), git and make; what a target needs beyond that it
# says. `make help` is made from the comments behind the targets' names.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where `make run` listens and keeps its state, 8080 and .micro unless the environment (MICRO_PORT, MICRO_STATE) or the
# last run says otherwise; a second copy takes others: make run port=9090 state=/tmp/second.
port ?=
state ?= $(or $(MICRO_STATE),.micro)
# The services that `make run` starts.
services ?= customers billing usage signup mixpanel
# Only what `bin/micro` does not find by itself has to be said.
elsewhere = $(if $(filter-out .micro,$(state)),--state $(state) )
first_call = bin/micro $(elsewhere)call customers Customers.Create '{\"email\": \"ada@example.com\", \"name\": \"Ada\"}'
# Flags for `go test`: make test flags='-run Login'.
flags ?=
# Benchmark groups for `make bench`, all of them by default: make bench only=calls.
only ?=
# Where `make platform` keeps the data of its servers, which is gone with them when nothing is said.
data ?=
# What `make verify` compares the protos with, when that is not the commit before: make verify against=origin/main.
against ?=
# For how long `make test-long` does to the platform what happens to it, and what is drawn from: make test-long for=30m seed=7.
for ?= 10m
seed ?= 0
# Arguments for `make demo`.
args ?=

tool := go tool -modfile=tools/go.mod
lint := go tool -modfile=tools/lint/go.mod

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: need
need:
	@scripts/need.sh

.PHONY: build
build: need ## Build bin/micro
	@scripts/build.sh bin/micro ./pkg/platform/micro

.PHONY: stand-ins
stand-ins: need ## Build what stands in for Stripe and Mixpanel while there is no account
	@scripts/build.sh bin/sink ./pkg/acceptance/sink/run
	@GOFLAGS="$$GOFLAGS -modfile=tools/go.mod" scripts/build.sh bin/stripe-mock github.com/stripe/stripe-mock

server = bin/micro server $(if $(port),--port '$(port)') $(if $(state),--state '$(state)') $(services:%=--run ./%) \
	--stand-in stripe=bin/stripe-mock --stand-in mixpanel=bin/sink \
	$(if $(filter customers,$(services)),--try "$(first_call)")

.PHONY: run
run: build stand-ins ## Build and run the platform in the foreground; port=8080 state=.micro services='customers ...'
	@exec $(server)

.PHONY: platform
platform: build stand-ins bin/withengines ## The same on throwaway etcd, Redis and PostgreSQL; data=DIRECTORY keeps theirs
	@MICRO_PROFILE=platform exec bin/withengines $(if $(data),-dir '$(data)') $(server)

.PHONY: bin/withengines
bin/withengines: need
	@go build -o $@ ./scripts/withengines

.PHONY: demo
demo: need ## Tell the story, step by step, against a running `make run`
	@go run ./pkg/acceptance/demo -state '$(state)' $(args)

.PHONY: test
test: need ## Test everything: units with the race detector, then acceptance; flags='-run Name'
	@scripts/timed.sh 'unit tests' scripts/test.sh unit -timeout 5m $(flags)
	@scripts/timed.sh 'acceptance tests' scripts/test.sh acceptance -timeout 20m $(flags)

.PHONY: test-long
test-long: need ## The same with the tests that take minutes (build tag long), and faults on etcd, Redis and PostgreSQL; for=30m seed=7
	@scripts/timed.sh 'unit tests, long' scripts/test.sh unit -tags long -timeout 60m $(flags)
	@scripts/timed.sh 'acceptance tests, long' scripts/test.sh acceptance -tags long -timeout 60m $(flags)
	@scripts/timed.sh 'faults for $(for)' $(under_faults) -timeout 0 -faults.for '$(for)' -faults.seed '$(seed)' $(flags)

# The test starts its own servers; of its output, what it did and saw is the point.
under_faults = go test -count=1 -tags platform -v -run '^TestUnderFaults$$' ./pkg/acceptance

# What is tested on the engines: packages that have tests for them, and what keeps something in SQL.
on_engines = $(shell grep -rl '^//go:build platform' --include='*_test.go' pkg | xargs -n1 dirname | grep -v acceptance | sort -u | sed 's|^|./|') \
	./pkg/database/... $(services:%=./%/...)
# What measures memory and time of thousands of nodes would measure the race detector.
measuring = ^TestManyNodes$$
# The acceptance tests that are run on the platform profile as well.
on_platform ?= Story

.PHONY: test-platform
test-platform: bin/withengines ## Test engines, services, the story and two minutes of faults on throwaway servers of etcd, Redis and PostgreSQL (build tag platform)
	@scripts/timed.sh 'platform tests' bin/withengines \
		go test -race -count=1 -parallel 8 -tags platform -timeout 20m -skip '$(measuring)' $(flags) $(on_engines)
	@scripts/timed.sh 'platform tests that measure' go test -count=1 -tags platform -run '$(measuring)' $(flags) ./pkg/platform/etcd
	@scripts/timed.sh 'acceptance tests on the platform profile' bin/withengines \
		go test -count=1 -tags platform -timeout 20m -run '$(on_platform)' $(flags) ./pkg/acceptance
	@scripts/timed.sh 'faults for 80 s' $(under_faults) -timeout 10m -faults.for 80s -faults.seed 1845 $(flags)

.PHONY: test-kubernetes
test-kubernetes: need ## Test the manifests and the runtime on a real API server of Kubernetes (needs etcd; the first run builds it)
	@scripts/kubernetes.sh
	@scripts/timed.sh 'tests on Kubernetes' go test -race -count=1 -tags kubernetes -timeout 10m $(flags) ./pkg/platform/kubernetes/...

.PHONY: images
images: need ## Make container images of the platform and of each service below bin/images, without a container engine
	@scripts/timed.sh 'images' go run ./scripts/images $(services)

.PHONY: platform-deps
platform-deps: ## Install what platform, test-platform and test-kubernetes need (as root on Debian and Ubuntu), or say what is missing
	@scripts/platform-deps.sh

.PHONY: lint
lint: need ## Lint Go, protos and the direction of imports; needs no internet once modules are downloaded
	@rc=0; \
	scripts/timed.sh 'direction of imports' go run ./scripts/arrows || rc=1; \
	export GOLANGCI_LINT_CACHE='$(CURDIR)/bin/lint-cache'; \
	scripts/timed.sh 'golangci-lint (the first run builds it)' $(lint) golangci-lint run || rc=1; \
	scripts/no-protos.sh . || scripts/timed.sh 'buf lint' $(tool) buf lint || rc=1; \
	exit $$rc

.PHONY: generate
generate: need ## Regenerate protos, clients, fakes and documents
	@scripts/generate.sh

.PHONY: verify
verify: need ## Check that generated code, formatting and go.mod are up to date, and protos compatible
	@scripts/verify.sh $(against)

.PHONY: new
new: build ## Make a new service in the house's shape: make new name=account
	@test -n '$(name)' || { echo 'Which name? make new name=account' >&2; exit 1; }
	@bin/micro new '$(name)'

.PHONY: bench
bench: need ## Measure, one line a figure; only=calls for one group
	@scripts/bench.sh $(only)

.PHONY: clean
clean: ## Remove what was built; state in .micro stays
	@rm -rf bin
