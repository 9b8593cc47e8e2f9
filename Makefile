# Every target calls one program; see CONTRIBUTING.md. What is set on make's command
# line, such as OWNER or SEED, is in that program's environment.
BUILT := $(or $(CARGO_TARGET_DIR),target)
.PHONY: help demo test build lint smoke chaos soak fuzz bench bench-taps deb host-up host-shell host-down install

help: ## these lines
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

demo: ## from a fresh Debian machine to microVMs made of YAML files; KEEP=1 keeps them
	tests/demo $(if $(KEEP),--keep)

test: ## everything that proves the project
	tests/run

build: ## the programs, optimised, and the static guest agent, in target/dist
	packaging/build

lint: ## format and clippy
	tests/run lint

smoke: ## the end-to-end scenarios alone
	tests/run scenarios

chaos: ## edits, kills and a power cut, from a seed: make chaos SEED=…
	cargo run -q --bin chaos -- $(if $(SEED),--seed $(SEED))

soak: ## an hour or two of it: 100 kills and 10 power cuts, on ten hosts
	tests/soak

fuzz: ## the helper's frames for ten minutes: make fuzz SECONDS=…
	FUZZ_FOUND=$(BUILT)/fuzz/found helper/fuzz/run frame -max_total_time=$(or $(SECONDS),600)

bench: ## on the simulated host: `banger diff` over 1,000 VMs, requests beside others
	tests/bench

bench-taps: ## 64 taps in parallel, one by one and in a bare loop, which they may take 1.5 times; as root
	cargo run -q --release -p banger-helper --example bench_taps -- --at-most 1.5

host-up: ## boot the disposable host
	tests/e2e/host up

host-shell: ## a shell in it
	tests/e2e/host exec

host-down: ## and away with it
	tests/e2e/host down

deb: build ## a Debian package, in target/release/deb/packed
	cargo run -q --bin deb -- $(BUILT)/dist

install: build ## install on this host: make install OWNER=you FIRECRACKER=… JAILER=…
	packaging/install
