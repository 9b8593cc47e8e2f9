# Every target calls one program; see CONTRIBUTING.md.
BUILT := $(or $(CARGO_TARGET_DIR),target)
dist = mkdir -p $(BUILT)/dist && cp $(addprefix $(BUILT)/release/,banger bangerd banger-helper) $(BUILT)/x86_64-unknown-linux-gnu/agent/banger-agent $(BUILT)/dist/
.PHONY: help demo test build lint smoke chaos soak fuzz bench bench-taps deb host-up host-shell host-down install

help: ## these lines
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

demo: ## from a fresh Debian machine to microVMs made of YAML files
	@tests/deps
	cargo run --bin demo

test: ## everything that proves the project
	tests/run

build: ## the programs, optimised, and the static guest agent
	cargo build --release -p banger -p banger-helper $(addprefix --bin ,banger bangerd banger-helper)
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile agent --target x86_64-unknown-linux-gnu -p banger-agent

lint: ## format and clippy
	tests/run lint

smoke: ## the end-to-end scenarios alone
	tests/run scenarios

chaos: ## edits, kills and a power cut, from a seed: make chaos SEED=…
	cargo run -q --bin chaos -- $(if $(SEED),--seed $(SEED))

soak: ## an hour or two of it: 100 kills and 10 power cuts, on ten hosts
	BANGER_SOAK_STEPS=1000000 cargo test -q --workspace --test machine
	cargo run -q --bin chaos -- --kills 100 --cuts 10 --hosts 10 $(if $(SEED),--seed $(SEED))

fuzz: ## the helper's frames for ten minutes: make fuzz SECONDS=…
	FUZZ_FOUND=$(BUILT)/fuzz/found helper/fuzz/run frame -max_total_time=$(or $(SECONDS),600)

bench: ## on the simulated host: `banger diff` over 1,000 VMs, requests beside others
	cargo build -q --release $(addprefix --bin ,banger bangerd bench_diff bench_requests)
	cargo run -q --release --bin bench_diff
	cargo run -q --release --bin bench_requests

bench-taps: ## 64 taps in parallel, one by one and in a bare loop, which they may take 1.5 times; as root
	cargo run -q --release -p banger-helper --example bench_taps -- --at-most 1.5

host-up: ## boot the disposable host
	tests/e2e/host up

host-shell: ## a shell in it
	tests/e2e/host exec

host-down: ## and away with it
	tests/e2e/host down

deb: build ## a Debian package, in target/release/deb/packed
	$(dist)
	cargo run -q --bin deb -- $(BUILT)/dist

install: build ## install on this host: make install OWNER=you FIRECRACKER=… JAILER=…
	$(dist)
	$(if $(filter 0,$(shell id -u)),,sudo )$(BUILT)/dist/banger system install $(if $(OWNER),--owner $(OWNER)) $(if $(FIRECRACKER),--firecracker $(FIRECRACKER)) $(if $(JAILER),--jailer $(JAILER))
