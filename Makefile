# `make help` lists the targets. Everything but check, generate, fmt, proto-bundle and image needs only Go.

SHELL       := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Arguments of the demo, for example ARGS="--once --output json".
ARGS      ?=
# Minutes that each soak suite may take.
MINUTES   ?= 10
# How long each fuzz target runs.
FUZZTIME  ?= 30s

# Leaves out the tracing pages of two libraries: they drag in html/template and cost 4 MB of binary.
TAGS := grpcnotrace,retrynotrace

GO_SOURCES := $(wildcard *.go) client nodes proto server tools

# Tools and inputs carry their version in the name of their stamp: a changed version is rebuilt, a changed
# date of a file (a fresh clone with a cached .bin) is not.
BUF_VERSION   := $(shell sed -n 's|^.*github.com/bufbuild/buf v\([^ ]*\).*|\1|p' tools/go.mod)
RULES_VERSION := $(shell sed -n 's|^.*bufbuild/protovalidate/protocolbuffers/go \(v[^ ]*\).*|\1|p' tools/validateproto/go.mod)
BUF_STAMP     := .bin/buf-$(BUF_VERSION).stamp
RULES_STAMP   := .deps/validate-$(RULES_VERSION).stamp
BUF           := .bin/buf

# The contract's previous version, as a compiled image.
CONTRACT_BEFORE := proto/testdata/contract-1.binpb

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build bin/entente
	go build -trimpath -tags $(TAGS) -o bin/entente ./nodes/entente

# Echoes nothing: with --output json stdout holds one document only.
.PHONY: demo
demo: ## a federation of four countries on this machine (ARGS="--once --output json")
	@go run ./nodes/entente demo $(ARGS)

.PHONY: test
test: ## run all tests, the federation end to end included
	go test ./...

.PHONY: check
check: check-format check-vet check-static check-contract check-breaking check-generated check-layout check-modules ## everything that a change must pass beside the tests

.PHONY: check-format
check-format: ## Go sources are formatted
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l $(GO_SOURCES)); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt mends it):"; echo "$$unformatted"; exit 1; fi

.PHONY: check-vet
check-vet: ## go vet, with and without the long suites
	go vet ./...
	go vet -tags soak ./...

.PHONY: check-static
check-static: ## staticcheck
	go tool staticcheck -tags soak ./...

.PHONY: check-contract
check-contract: $(BUF_STAMP) $(RULES_STAMP) ## the contract is formatted and lint clean
	$(BUF) format --diff --exit-code proto
	$(BUF) lint

# The other side is an image of the version before, kept in the repository: nodes of both work together, so what one says
# the other must understand. It is replaced when the contract's number rises (CONTRIBUTING.md says how), never to make
# this check pass. Rules and images are compared as buf.yaml says; .deps is the same on both sides.
.PHONY: check-breaking
check-breaking: $(BUF_STAMP) $(RULES_STAMP) ## the contract still says what its last version said
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(BUF) build --exclude-source-info -o "$$work/now.binpb"; \
	$(BUF) breaking "$$work/now.binpb" --against $(CONTRACT_BEFORE)

# Compares with a fresh generation in a folder of its own, so that it judges the files as they are and
# not as they were last committed. A generated file without a .proto is a difference as well.
.PHONY: check-generated
check-generated: $(BUF_STAMP) $(RULES_STAMP) ## committed Go is what the contract generates
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	mkdir "$$work/committed" "$$work/fresh"; \
	find proto -name '*.pb.go' > "$$work/list"; \
	tar -cf "$$work/committed.tar" -T "$$work/list"; \
	tar -xf "$$work/committed.tar" -C "$$work/committed"; \
	$(BUF) generate -o "$$work/fresh"; \
	diff -ru "$$work/committed" "$$work/fresh" || { echo "generated Go differs from the contract (make generate mends it)"; exit 1; }

.PHONY: check-layout
check-layout: ## import arrows and house rules that a program can check
	go test -count=1 -run '^TestLayout' .

.PHONY: check-modules
check-modules: ## go.mod and go.sum are tidy
	go mod tidy -diff
	cd tools/validateproto && go mod tidy -diff

.PHONY: generate
generate: $(BUF_STAMP) $(RULES_STAMP) ## generate Go from the contract
	$(BUF) generate

.PHONY: fmt
fmt: $(BUF_STAMP) $(RULES_STAMP) ## format Go and the contract
	"$$(go env GOROOT)/bin/gofmt" -w $(GO_SOURCES)
	$(BUF) format -w proto

# One package after the other: the suites measure and kill, and would disturb each other.
.PHONY: soak
soak: ## long suites, MINUTES=n each
	ENTENTE_SOAK_MINUTES=$(MINUTES) go test -tags soak -count=1 -p 1 -v -timeout $$(( 2 * $(MINUTES) + 15 ))m -run Soak ./...

.PHONY: bench
bench: ## durable ingest beside raw bbolt with a million records present; an exchange with nothing new
	go test -run '^$$' -bench Ingest -benchtime 1x -timeout 60m ./server
	go test -run '^$$' -bench NothingNew -benchtime 2000x ./server

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 30s)
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' client nodes proto server); do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
	    echo "$$target in $$file"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "./$$(dirname "$$file")"; \
	  done; \
	done

# The bundle has the same bytes each time, so its hash can be published beside it.
.PHONY: proto-bundle
proto-bundle: $(BUF_STAMP) $(RULES_STAMP) ## dist/entente-proto-contract-N.tar.gz: the contract, for programs in other languages
	@tools/bundle.sh .deps/protovalidate dist

.PHONY: reproducible
reproducible: ## build twice, in two folders and caches, and compare
	@tools/reproducible.sh

# IMAGE names it; ENGINE, ENGINE_FLAGS, BUILD_FLAGS and RUN_FLAGS are in tools/image.sh.
IMAGE ?= entente

.PHONY: image
image: ## build the container image and try it (docker, podman or buildah)
	@tools/image.sh $(IMAGE)

.PHONY: clean
clean: ## remove what was built; the tools in .bin stay, they take minutes
	rm -rf bin dist .deps

# A binary of the right version is taken as it is.
$(BUF_STAMP): tools/go.mod
	@mkdir -p .bin; rm -f .bin/buf-*.stamp
	@if [ "$$($(BUF) --version 2>/dev/null)" != "$(BUF_VERSION)" ]; then \
	  echo "building buf $(BUF_VERSION), once; this takes some minutes"; \
	  GOBIN="$(CURDIR)/.bin" go install -modfile=tools/go.mod github.com/bufbuild/buf/cmd/buf; \
	fi
	@touch $@

$(RULES_STAMP):
	@rm -rf .deps; mkdir -p .deps
	cd tools/validateproto && go run . "$(CURDIR)/.deps/protovalidate"
	@touch $@
