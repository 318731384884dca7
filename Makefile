# make quickstart   everything once: set-up, sample data, training, scoring, reading
# make test         the whole suite, in two processes (JOBS=4 for four, of some 4 GB each)
# make lint         format and lint checks
# make format       mend what the formatter can

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
JOBS ?= 2

.PHONY: quickstart test lint format

$(VENV)/users: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, and this is " + sys.version.split()[0] + "; name another, as in: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/developers: requirements-dev.txt $(VENV)/users
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

quickstart: $(VENV)/users
	$(RUN) tools/quickstart.py

# Passive: threads that wait for others leave the cores to the other process.
test: $(VENV)/developers
	OMP_WAIT_POLICY=PASSIVE $(RUN) -m pytest -q -n $(JOBS) --dist worksteal tests

lint: $(VENV)/developers
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

format: $(VENV)/developers
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .
