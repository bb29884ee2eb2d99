# Everything that CI runs is a target here, so that the two cannot drift.

GO ?= go
# Cgo is wanted by the race detector alone; the programs are static.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)
VERSION ?=
LDFLAGS := -s -w $(if $(VERSION),-X dockline/pkg/step.version=$(VERSION))

.DEFAULT_GOAL := help
.PHONY: help build test lint docs

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the step programs, static, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: ## run the tests (with the race detector where there is a C compiler; CI requires one)
	@if [ -z "$(RACE)" ]; then echo "NO C COMPILER: the tests run without the race detector" >&2; \
		if [ "$$CI" = true ]; then exit 1; fi; fi
	$(if $(RACE),CGO_ENABLED=1) $(GO) test $(RACE) -shuffle=on -timeout 10m ./...

lint: ## check formatting, go vet's findings and golangci-lint's (pinned in tools/lint.mod)
	@unformatted=$$(gofmt -l cmd e2e pkg steps); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool -modfile=tools/lint.mod golangci-lint run ./...

docs: ## write docs/reference/ anew from the steps' configuration structs
	DOCKLINE_UPDATE=true $(GO) test -count=1 -run 'Reference|KnownVariables' ./docs
