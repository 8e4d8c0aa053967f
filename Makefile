# Every target needs only Python 3.11 or later: it builds .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The tests start many processes; compiled modules make that faster.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast browser lint format bench soak picture docs localstack rabbitmq clean

demo: $(STAMP)
	@$(BIN)/python docs/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n 4 --dist worksteal

# Every test that is not marked as slow, with fewer random examples: under a minute on two cores.
test-fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --hypothesis-profile=fast

# The tests of the console's page; `make test` runs them too where there is a browser.
browser: $(STAMP)
	@command -v chromium > /dev/null && command -v chromedriver > /dev/null || \
		{ echo "Install Chromium and its driver, on Debian: apt-get install chromium chromium-driver"; exit 1; }
	$(BIN)/python -m pytest tests/console/test_page.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/black --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/black .

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Many random schedules, kills at every write, 100,000 messages through faults: many minutes.
soak: $(STAMP)
	$(BIN)/python -m pytest tests/ext/aws/model/test_schedules.py --hypothesis-profile=soak --timeout 1200
	$(BIN)/python -m pytest tests/dead_letters/test_kills.py --hypothesis-profile=soak --timeout 1200
	$(BIN)/python -m pytest tests/scaffold/project/test_interruptions.py -k any_command \
		--hypothesis-profile=soak --timeout 3600
	$(BIN)/python -m pytest tests/faults/test_producer.py tests/faults/test_rabbitmq.py \
		tests/contrib/idempotency/test_processes.py --hypothesis-profile=soak --timeout 3600

# A second broker for the tests. Without it, those of RabbitMQ are skipped.
rabbitmq:
	@command -v rabbitmq-server > /dev/null || test -x /usr/sbin/rabbitmq-server || \
		{ echo "Install RabbitMQ 3.10 or later, on Debian: apt-get install rabbitmq-server"; exit 1; }

# A second SQS server for the tests of faults. Without it, they use moto's server only.
localstack: .localstack/.installed

.localstack/.installed:
	$(PYTHON) -m venv .localstack
	.localstack/bin/pip install --quiet --disable-pip-version-check 'localstack-core[base-runtime]==4.12.0' \
		'moto-ext[sns,sqs]' 'cbor2<6' 'cryptography<47' 'pyopenssl<26' 'service-identity<25'
	@touch $@

# The picture of a terminal on the landing page: it shows a real run.
picture: $(STAMP)
	$(BIN)/python docs/picture.py docs/pictures/terminal.svg

docs: $(STAMP)
	$(BIN)/pip install --quiet --editable '.[docs]'
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed. Choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Building $(VENV), once: it gets loafer_kit, its extras and the tools that develop it."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) benchmarks/consumers/.venv benchmarks/consumers/sqs_consumer/node_modules \
		.localstack build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
