# Every target calls one program; see CONTRIBUTING.md.
.PHONY: help demo test build lint smoke bench bench-taps host-up host-shell host-down install

help: ## these lines
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

demo: ## from a fresh Debian machine to microVMs made of YAML files
	cargo run -q -p banger-e2e --bin demo

test: ## everything that proves the project
	tests/run

build: ## the programs, optimised, and the static guest agent
	cargo build --release -p banger -p banger-helper --bins
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile agent --target x86_64-unknown-linux-gnu -p banger-agent

lint: ## format and clippy
	tests/run lint

smoke: ## the end-to-end scenarios alone
	tests/run scenarios

bench: ## `banger diff` over 1,000 VMs on the simulated host
	cargo run -q --release -p banger-e2e --bin bench_diff

bench-taps: ## 64 taps in parallel, one by one and in a bare loop; as root
	cargo run -q --release -p banger-helper --example bench_taps

host-up: ## boot the disposable host
	cargo run -q -p banger-e2e --bin host -- up

host-shell: ## a shell in it
	cargo run -q -p banger-e2e --bin host -- exec

host-down: ## and away with it
	cargo run -q -p banger-e2e --bin host -- down

install: build ## install on this host, as root: make install OWNER=you FIRECRACKER=… JAILER=…
	mkdir -p target/dist && cp target/release/banger target/release/bangerd target/release/banger-helper target/x86_64-unknown-linux-gnu/agent/banger-agent target/dist/
	target/dist/banger system install $(if $(OWNER),--owner $(OWNER)) $(if $(FIRECRACKER),--firecracker $(FIRECRACKER)) $(if $(JAILER),--jailer $(JAILER))
