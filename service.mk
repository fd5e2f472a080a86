# What each service's Makefile includes: `include ../service.mk`. The targets work on that one service, and from the root
# of the repository, where the tools expect to be.

root := $(abspath $(dir $(lastword $(MAKEFILE_LIST))))
service := $(notdir $(CURDIR))

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(root)/service.mk

.PHONY: build
build: ## Build this service into bin/
	@cd $(root) && scripts/need.sh && go build -o bin/$(service) ./$(service)

.PHONY: test
test: ## Test this service
	@cd $(root) && scripts/need.sh && go test -race ./$(service)/...

.PHONY: generate
generate: ## Regenerate this service's proto, fakes and documents
	@cd $(root) && scripts/generate.sh $(service)

.PHONY: run
run: ## Run a platform with this service alone; port= and state= as at the root
	@$(MAKE) -C $(root) run services=$(service)
