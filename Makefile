# Everything that CI runs is a target here, so that the two cannot drift.

GO ?= go
# Cgo is wanted by the race detector alone; the programs are static.
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
.PHONY: help build demo test e2e bench cluster cluster-down lint docs rootfs image sbom

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the step programs, static, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: ## tell the whole story from Git to production, on real servers on this machine
	@mkdir -p .build && CGO_ENABLED=0 $(GO) build -trimpath -o .build/demo ./e2e/demo
	@.build/demo

test: ## run the tests (with the race detector where there is a C compiler; CI requires one)
	@if [ -z "$(RACE)" ]; then echo "NO C COMPILER: the tests run without the race detector" >&2; \
		if [ "$$CI" = true ]; then exit 1; fi; fi
	$(if $(RACE),CGO_ENABLED=1) $(GO) test $(RACE) -shuffle=on -timeout 10m ./...

e2e: image ## run the image, the GitLab and the Tekton files on the real stack (as root on Debian it installs what it needs)
	e2e/packages.sh
	$(GO) run -C e2e/tekton .
	cd e2e/tekton && $(GO) test -count=1 ./...
	$(GO) test -tags e2e -count=1 -timeout 40m -p 1 ./e2e/peers ./e2e/engine ./e2e/image ./e2e/gitlab ./e2e/cluster

bench: build ## measure promote against crane, regctl, oras and skopeo, ROUNDS (10) times, BENCH_ROWS or all (some 40 minutes)
	$(GO) run ./e2e/bench

cluster: ## bring up a real Kubernetes with Tekton on loopback (some 10 minutes of compiling the first time)
	$(GO) run ./e2e/cluster/cmd/cluster up

cluster-down: ## take it down again
	$(GO) run ./e2e/cluster/cmd/cluster down

lint: ## check formatting, go vet's findings and golangci-lint's (pinned in tools/lint.mod)
	@unformatted=$$(gofmt -l cmd docs e2e gitlab-ci pkg steps tekton tools); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) vet -tags e2e ./...
	$(GO) tool -modfile=tools/lint.mod golangci-lint run ./...

docs: ## write docs/reference/ anew from the steps' configuration structs
	DOCKLINE_UPDATE=true $(GO) test -count=1 -run 'Reference|KnownVariables|Inputs|Descriptions' ./docs ./gitlab-ci ./tekton

rootfs: ## lay out the image's root file system in .build/rootfs
	rm -rf $(ROOTFS)
	mkdir -p $(ROOTFS)/kaniko/bin
	GOOS=linux GOARCH=$$($(GO) env GOHOSTARCH) CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' \
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
