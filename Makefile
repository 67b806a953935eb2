# `make demo` and `make test` are all there is to set up.

# cargo puts everything under the target folder, and so do the tests.
TARGET := $(or $(CARGO_TARGET_DIR),target)
DENY_VERSION := 0.20.2
DENY := $(TARGET)/tools/bin/cargo-deny

build_tools := cc c++ cmake perl cargo

FOR ?= 60s
RUNS ?= 20
# Those that the documentation shows, unless they are of no use, of another Collector, or wanted elsewhere.
results = $(or $(RESULTS),$(if $(QUICK)$(COLLECTOR_BIN)$(COLLECTOR_CONFIG),,benchmarks/side_by_side/results.json))
demo_flags := --for $(FOR) $(if $(KAFKA),--kafka $(KAFKA)) $(if $(BREAK),--break $(BREAK))

.PHONY: demo test simulate fuzz soak overload proof instructions measure bench side-by-side tables build-tools prerequisites jars collector formatting lints dependencies unit-and-integration

demo: build-tools
	@test -x $(TARGET)/release/tailwater || \
	  echo "First build, optimised: Kafka's C client, TLS and about 200 crates are compiled. This takes several minutes, once."
	@cargo build --release --locked
	@$(TARGET)/release/tailwater demo $(demo_flags)

test:
	@echo "make test, on a fresh machine with two cores 35 to 55 minutes, later less:"
	@echo "  fetches   about 240 crates, 54 MB of Apache Kafka with Maven, the sources of cargo-deny and of the Collector"
	@echo "  builds    the dependencies twice, to check and to run (8 to 16 minutes), cargo-deny (2 minutes), the OpenTelemetry"
	@echo "            Collector (2 minutes), Tailwater (1 minute)"
	@echo "  runs      formatting, lints, licences, unit tests (7 minutes), the core under Valgrind, then all of it on a real Kafka (23)"
	@$(MAKE) --no-print-directory prerequisites
	@$(MAKE) --no-print-directory jars
	@$(MAKE) --no-print-directory collector
	@$(MAKE) --no-print-directory formatting
	@$(MAKE) --no-print-directory lints
	@$(MAKE) --no-print-directory dependencies
	@$(MAKE) --no-print-directory unit-and-integration

# The worker against a simulated Kafka, history after history, until one fails; TAILWATER_SEED=… replays that one.
simulate: build-tools
	TAILWATER_HISTORIES=0 cargo test --release --locked --lib worker::simulation::histories -- --nocapture

# Changed policies, conditions, foreign rules and records into what reads them, until one fails; TAILWATER_SEED=… replays that one.
fuzz: build-tools
	TAILWATER_INPUTS=0 cargo test --locked --test fuzz -- --nocapture

# The crash matrix, again and again with new traffic: make soak FOR=1h. TAILWATER_SEED=… repeats one.
soak: prerequisites jars
	TAILWATER_SOAK=$(FOR) cargo test --locked --test integration -- --nocapture --test-threads 3 crash::matrix

# Ten times what a processor can do, for so long, and then the rest of it: make overload FOR=10m takes 12 minutes and 15 GB of disk.
overload: prerequisites jars
	TAILWATER_SOAK=$(FOR) cargo test --locked --test integration -- --nocapture overload

# Runs of 60,000 traces each, keyed and unkeyed, with three kills at least that count: a line a run.
proof: prerequisites jars
	TAILWATER_RUNS=$(RUNS) cargo test --locked --test integration -- --nocapture crash::runs

# What a span costs, written down where it is meant to cost something else: `make test` compares.
instructions: build-tools
	@tests/prerequisites valgrind
	TAILWATER_WRITE=1 cargo test --locked --test instructions

# Tailwater and the Collector over the same traffic, in turn; PARTS="keyed steady" is some of it, QUICK=1 shows that it works.
# All of it is followed by the other benchmarks, and so draws every plot.
bench: prerequisites jars $(if $(COLLECTOR_BIN),,collector)
	RESULTS=$(results) PLOTS=docs/plots cargo bench --locked --bench side_by_side -- $(PARTS)
	$(if $(PARTS)$(QUICK),,@$(MAKE) --no-print-directory measure)

side-by-side: bench

# The tables and plots of the last results, without a run.
tables: build-tools
	RESULTS=$(results) PLOTS=docs/plots cargo bench --locked --bench side_by_side -- tables

# All the other benchmarks. The plots of docs/sampling.md are drawn anew; they change where figures do.
measure: build-tools
	@tests/prerequisites valgrind
	PLOTS=docs/plots cargo bench --locked $(addprefix --bench ,core table samplers slowest completion labelled growth end_to_end)

# What is missing is installed where that is allowed, and named where it is not.
build-tools:
	@tests/prerequisites $(build_tools)

prerequisites:
	@tests/prerequisites $(build_tools) rustfmt clippy java mvn openssl go valgrind

jars:
	tests/kafka/fetch $(TARGET)/kafka/libs

# What imported policies are compared with.
collector:
	tests/collector/fetch $(TARGET)/collector/collector

formatting:
	cargo fmt --check

# Twice, for tests bring in features of crates that what is built for use is without.
lints:
	cargo clippy --locked --all-targets --quiet -- -D warnings
	cargo clippy --locked --quiet -- -D warnings

# No advisories: their database is not in any package registry.
dependencies: $(DENY)
	$(DENY) --log-level error check bans licenses sources

# The version is in a file beside it, so that a new pin builds a new one. Unoptimised: it is quicker to build and as good.
$(DENY): $(TARGET)/tools/deny-$(DENY_VERSION)
$(TARGET)/tools/deny-$(DENY_VERSION):
	cargo install cargo-deny --version $(DENY_VERSION) --locked --debug --force --quiet --root $(TARGET)/tools
	@touch $@

# Each of these tests leaves its name when it has passed on a real Kafka. A run without one of them was no run.
WITNESSES := bad-input-dead-letters bad-input-huge bad-input-oversize ceilings collector collector-different collector-limits crash-batched crash-keyed \
  crash-matrix-keyed crash-matrix-rekeyed crash-matrix-spread crash-matrix-topics crash-pair crash-rest crash-run-batched \
  crash-run-keyed crash-twice dry-run-end dry-run-live dry-run-shared end-to-end-batched end-to-end-keyed expired-decisions expired-input \
  fault-broker fault-decisions fault-fenced fault-floor fault-held fault-late fault-leaders fault-namesake fault-nap fault-open fault-orphans \
  fault-parts fault-pressure fault-retention fault-rolling fault-rolling-brokers fault-scale fault-scale-eager fault-scale-newer \
  fault-sleeper fault-sleeper-fenced fault-storm fault-timeout fault-watchdog fault-wire follow json lifecycle-away lifecycle-empty lifecycle-missing \
  lifecycle-term manual metrics outliers outliers-told overload partitions-latest partitions-meanwhile partitions-rekey preflight-past preflight-ready \
  preflight-rekey preflight-rights preflight-wanting recall recall-gone recall-json recall-unkeyed rekey rekey-bad rekey-crash rekey-headers rekey-plain rekey-two reload \
  reload-learned security-certificate security-dry-run security-mutual security-password security-plain security-rights \
  security-scram security-unfenced spread time-behind time-late time-live time-order time-past time-reader time-topics tools

unit-and-integration:
	@rm -rf $(TARGET)/kafka/witnesses
	cargo test --locked
	@for test in $(WITNESSES); do \
	  test -f $(TARGET)/kafka/witnesses/$$test || { echo "the integration test $$test did not run on a real Kafka"; exit 1; }; \
	done
