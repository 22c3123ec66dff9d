# Each target sets up all it needs in .venv, from nothing, with Python >= 3.11.
#   make predict SMILES=CCO     properties of a molecule
#   make test                   the test suite
#   make docs                   the documentation, in site/
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Through the environment, so that characters such as # ( ) = in a SMILES reach the program as they are.
SMILES ?= CCO
export SMILES

.PHONY: help predict test lint format docs notebooks data checksums clean
help:
	@sed -n '2,4s/^#//p' Makefile

predict: $(VENV)/.installed
	@$(BIN)/molgeo predict --format table "$$SMILES"

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Without a network; Material's notice about its own future is not about these pages.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Runs the notebooks anew and keeps their outputs.
notebooks: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebooks/run.py

data: $(VENV)/.installed-dev
	$(BIN)/molgeo data prepare qm9

# After a change in checkpoints/: what `load` compares shipped files with.
checksums:
	cd checkpoints && sha256sum *.safetensors > ../molgeo/checkpoints.sha256

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "molgeo needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing molgeo into $(VENV) (once)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what the tests need into $(VENV) (once)"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@
