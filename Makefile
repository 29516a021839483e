# make demo: set up and try it on the example photographs. make test: what continuous integration runs.
# WORKERS processes share its tests, with one thread each: most tests are too small to use two threads well.
# make light: the same for the light installation, without torch. make web: the decoder for browsers, built and tested;
# wheels that are built afterwards hold its page. make docs: every table and plot of the documents, from benchmarks/results, and the man page, from the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUALITY ?= 50
WORKERS ?= 2

.PHONY: demo test web docs wheel light clean

demo: $(VENV)/installed
	$(BIN)/vitcodec encode examples -q $(QUALITY) -o demo/encoded --overwrite
	$(BIN)/vitcodec decode demo/encoded -o demo/decoded --overwrite
	$(BIN)/vitcodec eval examples -q 20,$(QUALITY),90 --csv demo/eval.csv --overwrite
	@echo
	@echo "Look at:  demo/encoded   the photographs as .vitc files, at quality $(QUALITY)"
	@echo "          demo/decoded   what they look like again, to compare with examples/"
	@echo "          demo/eval.csv  the table above"
	@echo "Next:     $(BIN)/vitcodec encode YOUR_PHOTO.jpg"

test: $(VENV)/developed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) light
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

# NPM's own cache is used; nothing is installed outside web/
web:
	@command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(+(parseInt(process.versions.node) < 20))' || { echo "make web needs Node.js 20 or newer, with npm" >&2; exit 1; }
	cd web && npm ci --loglevel=error && npm run --silent check && npm run --silent build && npm test --silent

docs: $(VENV)/developed
	$(BIN)/python -m benchmarks docs
	$(BIN)/python -m vitcodec.cli.man > docs/vitcodec.1

# a wheel installed into a folder of its own works from another folder, with the hub switched off
wheel: $(VENV)/developed
	rm -rf build/wheel
	$(BIN)/python -m pip wheel -q --no-deps -w build/wheel .
	$(BIN)/python -m pip install -q --no-deps --target build/wheel/installed build/wheel/vitcodec-*.whl
	cd build/wheel && PYTHONPATH=installed HF_HUB_OFFLINE=1 ../../$(BIN)/python -c 'import vitcodec; assert "installed" in vitcodec.__file__, vitcodec.__file__'
# what `train --init swin` starts from
	cd build/wheel && PYTHONPATH=installed HF_HUB_OFFLINE=1 ../../$(BIN)/python -c 'from vitcodec.pretrained import registry; from vitcodec.training.integers import load_float; load_float(registry.find())'
	cd build/wheel && PYTHONPATH=installed HF_HUB_OFFLINE=1 ../../$(BIN)/python -m vitcodec encode ../../examples/chelsea.png -o chelsea.vitc
	cd build/wheel && PYTHONPATH=installed HF_HUB_OFFLINE=1 ../../$(BIN)/python -m vitcodec decode chelsea.vitc
	cd build/wheel && PYTHONPATH=installed HF_HUB_OFFLINE=1 ../../$(BIN)/python -m vitcodec eval ../../examples/chelsea.png -q 50 --html report.html

# the wheel and what requirements-light.txt lists, in an environment of its own; the tests need pytest too
light: wheel
	rm -rf build/light
	$(PYTHON) -m venv --without-pip build/light
	$(BIN)/python -m pip --python build/light/bin/python install -q --no-compile -c constraints.txt -r requirements-light.txt pytest
	$(BIN)/python -m pip --python build/light/bin/python install -q --no-compile --no-deps build/wheel/vitcodec-*.whl
	cd build/light && VITCODEC_LIGHT=1 OMP_NUM_THREADS=1 bin/python -m pytest -q -c /dev/null -p no:cacheprovider ../../tests/test_light.py

clean:
	rm -rf $(VENV) demo build dist web/node_modules web/build web/dist vitcodec/web

# the stamps say that what pyproject.toml and constraints.txt ask for is there
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vitcodec needs Python 3.11 or newer; run make PYTHON=python3.12, say")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/developed: $(VENV)/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@
