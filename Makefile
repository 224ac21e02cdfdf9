# What people type. README names each of these; .ci/run calls lint and test only.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SWIFT ?= swift
AREA ?= all
MINUTES ?= 10
RELEASE := .build/release
# Release flags: one static binary; exclusivity is checked in debug builds, where the tests run.
RELEASE_FLAGS := -c release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked
FORMATTED := Package.swift Sources gateway/Sources gateway/Tests Tests functions/runtime-swift

.PHONY: help up test bench soak coverage fmt lint docs clean build debug system samples-native

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | column -t -s "$$(printf '\t')"

system: ## Install what the system lacks (says what and why first)
	@scripts/system-packages

build: system ## Release build of apus and its companions
	$(SWIFT) build $(RELEASE_FLAGS) --product apus
	$(SWIFT) build $(RELEASE_FLAGS) --product apus-spawner
	@scripts/build-runner .build/release

debug: system ## Debug build that the tests use
	@scripts/test-packages
	$(SWIFT) build --build-tests
	$(SWIFT) build --build-tests --package-path functions/runtime-swift
	@scripts/build-runner .build/debug

samples-native: ## Compile the samples that are plain executables
	@$(MAKE) --no-print-directory -C functions/samples/hello-binary

up: ## From nothing to an answer: build, start, deploy the samples, wait for each
	@scripts/up

test: debug samples-native ## Everything a test run needs, then every test
	@scripts/test

bench: build ## Every benchmark, one line of JSON each: make bench AREA=all|async|coldstart|gateway|logs|footprint
	@scripts/bench $(AREA)

soak: debug samples-native ## Long forms of the harnesses: make soak AREA=crash|load|gateway|async|logs|pods|stream|fuzz|all MINUTES=30
	@APUS_SOAK_MINUTES=$(MINUTES) scripts/soak $(AREA)

coverage: ## Lines of the readers that the short fuzz reaches by itself, at least 90 %: make coverage AREA=gateway
	@scripts/coverage $(AREA:all=gateway)

fmt: ## Format the code
	@$(SWIFT) format --in-place --parallel --recursive $(FORMATTED)

lint: ## Formatter and linter find nothing
	@$(SWIFT) format lint --strict --parallel --recursive $(FORMATTED)

docs: ## Check the documents: links, commands, the tour
	$(SWIFT) test --filter 'DocTests'

clean: ## Remove what builds left
	rm -rf .build .build-* functions/runtime-swift/.build functions/samples/*/.build
