# The short way to everything; underneath are CMake presets (CMakePresets.json).

BUILD := build/release
PREFIX ?= /usr/local
MODEL ?= models/tiny
PROMPT ?= Explain quantum computing
ARGS ?=
# For CMake, e.g. -DFLASHMOE_WERROR=ON as the CI has it: a new compiler's new warning must not keep
# anybody from running or testing.
CMAKE_FLAGS ?=

# The shell gets these from the environment and as they were typed, so that quotes, dollars and
# newlines in them are safe.
override PROMPT := $(value PROMPT)
override MODEL := $(value MODEL)
override PREFIX := $(value PREFIX)
export PROMPT MODEL PREFIX

.PHONY: help run build test install deps format clean

help:
	@echo 'make run PROMPT="..."     install what is missing, build, and answer (MODEL=..., ARGS=...)'
	@echo 'make build                build/release/flashmoe'
	@echo 'make test                 build everything and run the tests'
	@echo 'make install PREFIX=...   program and embedded model; PREFIX is /usr/local if not given'
	@echo 'make deps                 install what building and testing need'
	@echo 'make format               clang-format on all sources'
	@echo 'make clean                remove build/'

# Progress goes to stderr: `make run > answer.txt` holds the answer alone.
run: build
	@$(BUILD)/flashmoe run $(ARGS) -- "$$MODEL" "$$PROMPT"

build: $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target flashmoe >&2

# As far as the tests: `make test` without running them.
.PHONY: build-tests
build-tests: build/.deps-build build/.deps-test
	@cmake --preset release -DFLASHMOE_TESTS=ON $(CMAKE_FLAGS) >&2
	@cmake --build $(BUILD) >&2

test: build-tests
	@ctest --test-dir $(BUILD) --output-on-failure -j "$$(getconf _NPROCESSORS_ONLN)"

install: build
	@cmake --install $(BUILD) --prefix "$$PREFIX"

deps: build/.deps-build build/.deps-test

# Ninja reconfigures by itself when a CMake file changes.
$(BUILD)/build.ninja: | build/.deps-build
	@cmake --preset release $(CMAKE_FLAGS) >&2

build/.deps-%: tools/install_deps.sh
	@tools/install_deps.sh $* >&2
	@mkdir -p build && touch $@

format:
	@git ls-files -co --exclude-standard '*.h' '*.cc' | xargs clang-format -i

clean:
	rm -rf build
