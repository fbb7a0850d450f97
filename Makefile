# make demo    a tour on simulated reads, or on your own: make demo R1=… R2=… REF=…
# make test    lint, types, import layers and tests
# make docs    the site, in site/
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# An editable install knows the modules of the day it was made: another list of files needs another install.
FILES := $(shell find agd cli schemas -name '*.py' | sort | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(FILES)

.PHONY: demo test lint pytest docs try-docs bench limits kill-campaign scale-out remote ceph sanitize \
	sanitize-payloads sanitized corruption fuzz fuzz-native clean

# The environment is made again when what it is made from changes.
$(STAMP): pyproject.toml $(wildcard agd/kernels/native/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "scikit-build-core>=1.1" "nanobind>=3.1" "cmake>=3.24" ninja
	$(BIN)/python -m pip install --quiet --no-build-isolation -e ".[test,lint,bench,docs,notebooks]"
	rm -f $(VENV)/.installed-* && touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py $(if $(R1),--reads1 $(R1)) $(if $(R2),--reads2 $(R2)) $(if $(REF),--reference $(REF))

test: lint pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy -p agd
	$(BIN)/lint-imports

pytest: $(STAMP)
	$(BIN)/python -m pytest -n 2

# The site, any warning an error; begin at site/index.html. Nothing is fetched, now or when it is read.
docs: $(STAMP)
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees -c docs . site

# Every block of README and docs as a newcomer meets it: a wheel, a fresh environment, what the page says to install.
try-docs:
	$(PYTHON) -m tests.docs.newcomer

# Our commands next to their peers: make bench SIZE=1M, or R1=… R2=… REF=… for real reads. Modules are compiled once,
# as where they are installed.
bench: $(STAMP)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python benchmarks/bench.py $(if $(SIZE),--size $(SIZE)) $(if $(R1),--reads1 $(R1)) \
		$(if $(R2),--reads2 $(R2)) $(if $(REF),--reference $(REF)) $(if $(ONLY),--only "$(ONLY)")

# What the steps of each work cost at least on this machine, after make bench.
limits: $(STAMP)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python benchmarks/limits.py $(if $(SIZE),--size $(SIZE))

# Kill every verb at random writes, run it again, compare: KILLS in each store.
kill-campaign: $(STAMP)
	$(BIN)/python -m benchmarks.kill_campaign $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

# Efficiency of 1 to 32 workers that sleep for as long as a chunk takes.
scale-out: $(STAMP)
	$(BIN)/python -m benchmarks.scale_out

# Throughput of our storage next to the raw clients, against an S3 server on this machine (or the one of ENDPOINT).
remote: $(STAMP)
	$(BIN)/python -m benchmarks.remote $(if $(ENDPOINT),--endpoint $(ENDPOINT) --url $(URL))

# The same and more against a Ceph RADOS gateway that is started for it (Debian: ceph-mon ceph-mgr ceph-osd radosgw).
ceph: $(STAMP)
	$(BIN)/python -m benchmarks.ceph $(if $(PAIRS),--pairs $(PAIRS))

# The kernels under the address and undefined behaviour sanitizers, in an environment of their own: their tests, and
# damaged payloads of every codec.
sanitize: sanitized
	$(SANITIZED) -m pytest -q -p no:cacheprovider tests/kernels

sanitize-payloads: sanitized
	$(SANITIZED) -m tests.corruption.payloads --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED))

SANITIZED = ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" .venv-sanitize/bin/python

sanitized:
	test -x .venv-sanitize/bin/python || $(PYTHON) -m venv .venv-sanitize
	.venv-sanitize/bin/python -m pip install --quiet "scikit-build-core>=1.1" "nanobind>=3.1" "cmake>=3.24" ninja
	.venv-sanitize/bin/python -m pip install --quiet --no-build-isolation -C cmake.define.AGD_SANITIZE=ON \
		-C build-dir=build/sanitize -e ".[test]"

# Damaged files by the hundred thousand: each must be noticed, or read the same.
corruption: $(STAMP)
	$(BIN)/python -m tests.corruption.campaign --cases $(or $(CASES),100000)

# Every reader under a fuzzer, so many seconds each.
FUZZ_TARGETS := "chunk file" "sealed chunk file" manifest "sealed manifest" fastq sam bam compressed
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet atheris
	for target in $(FUZZ_TARGETS); do \
		$(BIN)/python -m tests.corruption.fuzz --target "$$target" --seconds $(or $(SECONDS_EACH),60) || exit 1; done

# Those that kernels read for, guided by the branches of the kernels, under the address sanitizer; needs clang.
CLANGXX ?= clang++
fuzz-native:
	@command -v $(CLANGXX) > /dev/null || { echo "there is no $(CLANGXX): install clang and its compiler-rt (on Debian" \
		"clang and libclang-rt-14-dev), or name another: CLANGXX=clang++-14"; exit 1; }
	test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet "scikit-build-core>=1.1" "nanobind>=3.1" "cmake>=3.24" ninja atheris
	CXX=$(CLANGXX) .venv-fuzz/bin/python -m pip install --quiet --no-build-isolation \
		-C cmake.define.AGD_FUZZ=ON -C build-dir=build/fuzz -e .
	fuzzer="$$(.venv-fuzz/bin/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so"; \
	for target in "chunk file" "sealed chunk file" fastq sam bam; do \
		ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$$fuzzer .venv-fuzz/bin/python -m tests.corruption.fuzz --native \
			--target "$$target" --seconds $(or $(SECONDS_EACH),60) || exit 1; done

clean:
	rm -rf $(VENV) build
