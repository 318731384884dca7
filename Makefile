# make quickstart   everything once: set-up, sample data, training, scoring, reading
# make test         the whole suite
# make lint         format and lint checks
# make format       mend what the formatter can

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

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

test: $(VENV)/developers
	$(RUN) -m pytest -q tests

lint: $(VENV)/developers
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

format: $(VENV)/developers
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .
