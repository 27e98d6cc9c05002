# Everything here needs a Go toolchain, make and git; `make interop` installs
# the rest (clients, a JDK, Apache Kafka) by itself on a Debian machine.

GO ?= go
BIN := bin/gregor
SOURCES := $(shell find cmd engine server wire -name '*.go' -not -name '*_test.go') go.mod go.sum

.PHONY: all build logcheck run test unit simulate lint fuzz crash interop bench bench-compare bench-peers clean

all: build

build: $(BIN)

$(BIN): $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/gregor

# The offline checker for any Kafka or Gregor data directory.
logcheck:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/logcheck ./tools/logcheck

# A broker on localhost:9092 with its data in ./data.
run: build
	./$(BIN)

# The race detector needs a C compiler; everything else only the Go toolchain.
RACE := $(shell command -v gcc >/dev/null 2>&1 && echo -race)

# What a change must pass: vet, staticcheck, the import map, all tests (with the
# race detector where there is a C compiler), the coordinators by many seeds,
# every fuzz target for a moment.
test: lint unit simulate fuzz

unit:
	$(GO) test $(RACE) -timeout 20m ./...

# The coordinators by seed, in virtual time, on all processors; unit runs a few
# hundred of the seeds with the race detector.
SEEDS ?= 10000
simulate:
	$(GO) test ./server/group ./server/txn -run 'TestSimulation$$' -seeds $(SEEDS)

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt'; exit 1; }
	$(GO) vet ./...
	cd tools/interop && $(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

FUZZTIME ?= 20000x
fuzz:
	GO=$(GO) sh tools/fuzz.sh $(FUZZTIME)

# 100,000 simulated power cuts.
CUTS ?= 100000
crash:
	$(GO) test ./engine -run PowerCuts -timeout 30m -cuts $(CUTS)

# Unchanged clients and a real Apache Kafka against Gregor.
interop:
	tools/interop/run.sh

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./engine/...

# The broker against the bare floor, alternating, in one run.
bench-compare:
	$(GO) run ./benchmarks/compare

# The broker against Apache Kafka (installed by interop's setup) and the floor:
# about an hour. DIR decides which disk is measured.
DIR ?= $(or $(TMPDIR),/tmp)
ROUNDS ?= 3
SCENARIOS ?= all
KAFKA_JARS ?= $(or $(GREGOR_INTEROP_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gregor-interop)/kafka/lib
bench-peers:
	test -d $(KAFKA_JARS) || tools/interop/setup.sh
	$(GO) run ./benchmarks/compare -contestants floor,gregor,kafka,kafka-flush -scenarios $(SCENARIOS) -rounds $(ROUNDS) \
		-kafka-jars $(KAFKA_JARS) -dir $(DIR) -history-gb 4 -markdown bin/bench-peers/report.md -json bin/bench-peers/report.json \
		-command 'make bench-peers ROUNDS=$(ROUNDS) SCENARIOS=$(SCENARIOS)'

clean:
	rm -rf bin
