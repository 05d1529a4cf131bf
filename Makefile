# A fresh machine needs python3 (3.10 to 3.13) and make; everything else is installed into .venv.
#   make setup | demo | test | lint | clean
# Variables:
#   PYTHON=python3.12         the interpreter that .venv is made from
#   ARGS="-k focalnet"        handed to pytest by `make test`, to the demo by `make demo`
#   JOBS=2                    test processes
#   DETECTRON2=git+https://github.com/facebookresearch/detectron2
#       with `make setup`: upstream in place of the registry's Python sources. It compiles detectron2._C, so it needs
#       git and a C++ compiler and fails without them. Nothing in this project needs _C.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
UV := $(PY) -m uv pip
STAMP := $(VENV)/.ready

export UV_HTTP_TIMEOUT ?= 300
# Where an environment forbids files of bytecode, each process compiles torch anew, which takes longer than most tests.
export PYTHONDONTWRITEBYTECODE :=
export UV_PYTHON_DOWNLOADS := never

# requirements-lock.txt was solved for this; elsewhere the newest versions within setup.cfg's ranges are taken.
IS_LOCKED_PLATFORM := import platform as p, sys; \
	sys.exit((*sys.version_info[:2], p.system(), p.machine()) != (3, 11, "Linux", "x86_64"))
IS_SUPPORTED := import sys; \
	sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed, try: make setup PYTHON=python3.11")
HAS_UPSTREAM := import importlib.metadata; importlib.metadata.version("detectron2")

.PHONY: setup demo test lint lock clean

setup: $(STAMP)
ifdef DETECTRON2
	$(UV) uninstall --python $(PY) sal-detectron2
	$(UV) install --python $(PY) --no-deps --no-build-isolation --reinstall "$(DETECTRON2)"
endif

# A .venv that is there already is completed, not replaced, unless it is broken.
$(STAMP): setup.cfg pyproject.toml requirements-lock.txt requirements-detectron2.txt
	@$(PYTHON) -c '$(IS_SUPPORTED)'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv==0.13.9
	if $(PY) -c '$(IS_LOCKED_PLATFORM)'; \
	then $(UV) install --python $(PY) --require-hashes -r requirements-lock.txt; \
	else $(UV) install --python $(PY) -r setup.cfg --extra test --extra lint \
	  && $(UV) install --python $(PY) --no-deps "panopticapi-lite>=0.2"; fi
	$(PY) -c '$(HAS_UPSTREAM)' 2>/dev/null || $(UV) install --python $(PY) --no-deps --require-hashes \
	  --python-version 3.10 -r requirements-detectron2.txt
	@rm -rf *.egg-info  # of an older setup.cfg, which would be read in place of the new metadata
	$(UV) install --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(PY) tools/demo.py $(ARGS)

# One thread for each test process: two processes with two threads each are slower than this on two cores.
test: setup
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) tools/check_types.py

# Solve the lock again. Its pins are kept as far as they still fit; to move one: make lock ARGS="--upgrade-package scipy".
lock: setup
	$(PY) -m uv pip compile setup.cfg --extra test --extra lint --generate-hashes --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" -o requirements-lock.txt -q $(ARGS)

# Leaves .venv and what was trained into output/ alone.
clean:
	rm -rf build dist *.egg-info output/demo .pytest_cache .ruff_cache .hypothesis
