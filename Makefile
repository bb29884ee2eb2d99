# Everything that CI runs is a target here, so that the two cannot drift.

GO ?= go
# Go keeps what it has compiled, by its flags: with the same ones everywhere, what one target compiles serves the others,
# those that compile inside of a test or of Docker too. Cgo is wanted by the race detector alone; the programs are static.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS)) -trimpath)
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)
VERSION ?=
LDFLAGS = -s -w $(if $(VERSION),-X dockline/pkg/step.version=$(VERSION))

# The image: its name, and what two builds of it must agree on to have one digest.
IMG ?= dockline:dev
ENGINE ?= docker
REVISION ?= $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
ROOTFS ?= .build/rootfs

.DEFAULT_GOAL := help
.PHONY: help build demo test fuzz e2e chaos bench cluster cluster-down lint docs rootfs image sbom

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the step programs, static, into bin/
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: ## tell the whole story from Git to production, on real servers on this machine
	@mkdir -p .build && $(GO) build -o .build/demo ./e2e/demo
	@.build/demo

test: ## run the tests (with the race detector where there is a C compiler; CI requires one)
	@if [ -z "$(RACE)" ]; then echo "NO C COMPILER: the tests run without the race detector" >&2; \
		if [ "$$CI" = true ]; then exit 1; fi; fi
	$(if $(RACE),CGO_ENABLED=1) $(GO) test $(RACE) -vet=off -shuffle=on -timeout 10m ./...

# One target at a time is what Go can do. Left alone, it spends up to a minute of the time on making each input that it
# finds interesting shorter.
FUZZTIME ?= 10m
FUZZ ?= .
fuzz: ## look for inputs that break what reads others' (references, plans, records, answers, …), FUZZTIME (10m) for each
	@set -e; grep -roE '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' e2e pkg steps | sort | \
	sed 's|/[^/]*:func | |' | grep -e '$(FUZZ)' | while read -r package target; do \
		echo "./$$package $$target"; \
		$(GO) test -vet=off -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s "./$$package" </dev/null; \
	done

# The cluster is compiled while tests wait that need none, as far as the processors are idle.
e2e: image ## run the image, the GitLab and the Tekton files on the real stack (as root on Debian it installs what it needs)
	e2e/packages.sh
	$(GO) run -C e2e/tekton .
	cd e2e/tekton && $(GO) test -count=1 ./...
	$(GO) build -o .build/cluster/ ./e2e/cluster/cmd/cluster
	@nice -n 19 .build/cluster/cluster compile >.build/cluster/compile.log 2>&1 & compiling=$$!; \
		trap 'kill $$compiling 2>/dev/null || true' EXIT; \
		set -ex; \
		$(GO) test -tags e2e -vet=off -count=1 -timeout 40m -p 1 ./e2e/git ./e2e/peers ./e2e/chaos ./e2e/builds ./e2e/engine ./e2e/executor ./e2e/image ./e2e/gitlab; \
		wait $$compiling || { cat .build/cluster/compile.log; exit 1; }; \
		$(GO) test -tags e2e -vet=off -count=1 -timeout 40m ./e2e/cluster

chaos: ## promote 200 images through failures of all kinds, and kill it 50 times (some minutes)
	$(GO) test -tags e2e -vet=off -count=1 -timeout 40m ./e2e/chaos

bench: build ## measure promote against crane, regctl, oras and skopeo, and builds against the executor, ROUNDS (10) times, BENCH_ROWS or all (an hour)
	$(GO) run ./e2e/bench

cluster: ## bring up a real Kubernetes with Tekton on loopback (some 8 minutes of compiling the first time)
	$(GO) run ./e2e/cluster/cmd/cluster up

cluster-down: ## take it down again
	$(GO) run ./e2e/cluster/cmd/cluster down

# golangci-lint's govet is go vet, so that neither runs by itself, nor as a part of a test. (go tool would compile it with
# flags of its own.)
lint: ## check formatting, and golangci-lint's findings (pinned in tools/lint.mod), go vet's among them
	@unformatted=$$(gofmt -l cmd docs e2e gitlab-ci pkg steps tekton tools); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) build -modfile=tools/lint.mod -o .build/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	.build/golangci-lint run ./...

docs: ## write docs/reference/ anew from the steps' configuration structs
	DOCKLINE_UPDATE=true $(GO) test -count=1 -run 'Reference|KnownVariables|Inputs|Descriptions' ./docs ./gitlab-ci ./tekton

rootfs: ## lay out the image's root file system in .build/rootfs
	rm -rf $(ROOTFS)
	mkdir -p $(ROOTFS)/kaniko/bin
	GOOS=linux GOARCH=$$($(GO) env GOHOSTARCH) $(GO) build -buildvcs=false -ldflags '$(LDFLAGS)' \
		-o $(ROOTFS)/kaniko/bin/ ./cmd/clone-build-push ./cmd/dockline
	tools/image/rootfs.sh $(ROOTFS)

rootfs image sbom: VERSION := $(or $(VERSION),devel$(REVISION:%=-%))
image: rootfs ## make the image IMG (default dockline:dev), without a registry, and load it into ENGINE (docker) if that runs
	$(GO) run ./tools/image pack -rootfs $(ROOTFS) -name $(IMG) -out .build/image -engine $(ENGINE) -arg VERSION=$(VERSION) \
		$(REVISION:%=-arg REVISION=%)

sbom: image ## list the modules in the image's programs (CycloneDX) in .build/sbom, and attach the lists to the image
	rm -rf .build/sbom
	mkdir -p .build/sbom
	for program in clone-build-push dockline; do \
		$(GO) tool -modfile=tools/sbom.mod cyclonedx-gomod bin -json -noserial -notimestamp -disable-html-escape -std \
			-version $(VERSION) -output .build/sbom/$$program.cdx.json $(ROOTFS)/kaniko/bin/$$program || exit 1; \
	done
	$(GO) run ./tools/image attach -out .build/image -type application/vnd.cyclonedx+json .build/sbom/*.cdx.json
