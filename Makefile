# What people type. CI types the same: see .ci/run.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install check test soak bench bench-record timing demo proto-baseline

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Installs what the tests need and this machine lacks
	@tests/install

check: ## Formatting, lints, documentation, licences: no test runs
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences are not checked (bans are, by the tests)"; fi

test: install ## Every test; fleets of eight sidecars beside all else, since they wait more than they work
	cargo test --no-run
	@mkdir -p target/test
	@cargo test --test it -- fleet:: >target/test/fleet.txt 2>&1 & fleet=$$!; ended=0; \
	cargo test -- --skip fleet:: || ended=$$?; \
	wait $$fleet || ended=$$?; \
	cat target/test/fleet.txt; exit $$ended

soak: install ## The tests with rounds, again and again: kill -9 under load, guesses at once, revocations at eight sidecars, a million contacts
	CRASH_ROUNDS=25 ATTACK_ROUNDS=20 FLEET_ROUNDS=50 FLEET_GUESSES=1600 CHANGE_ROUNDS=200 cargo test --test it -- --nocapture crash:: attackers:: fleet::
	CRASH_ROUNDS=200 cargo test --test it -- --nocapture crash::no_kill crash::management
	MODEL_STEPS=2000 cargo test --test it -- --nocapture model::
	TWIN_CASES=5000 cargo test --test it -- --nocapture throttle::twins::
	for contacts in 200000 1000000; do IMPORT_CONTACTS=$$contacts cargo test --test it -- --nocapture import::load::passphrases; done

bench: ## A decision beside a server that does nothing and beside Cerbos; a hash; the rules. Some eight minutes
	@tests/install bench
	cargo build --release --bin countersign --example control
	tests/.venv/bin/python benches/compare/main.py target/release/countersign target/release/examples/control $(RECORD)
	cargo bench --bench hash
	cargo bench --bench policy
	cargo bench --bench counters
	cargo bench --bench roles
	cargo bench --bench directory

bench-record: RECORD = --record
bench-record: bench ## The same, and writes docs/performance.md and its plot

timing: ## Whether answers to passphrases differ in time
	cargo bench --bench timing

demo: ## A sidecar with a sample company on loopback
	cargo run --release -- demo

proto-baseline: install ## Accepts the present API as the one that later versions must stay compatible with
	cd proto && ../tests/node_modules/.bin/buf build --exclude-source-info -o baseline.binpb
