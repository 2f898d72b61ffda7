# Python 3.11 and make are all that is needed; `make help` lists what there is.
# What .venv is made of; where it is empty, install.sh chooses.
PYTHON ?=
RUN := .venv/bin/python
NATIVE := $(RUN) -m deploy.native

.DEFAULT_GOAL := help
.PHONY: help run-all run-docker stop status logs seed replay reset demo call token psql topic test check generate bench bench-quick chaos

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Everything below needs the environment; it is made again when the lock changes.
.venv/.ready: requirements.lock pyproject.toml deploy/native/install.sh
	@sh deploy/native/install.sh "$(PYTHON)"

run-all: .venv/.ready ## start the whole shop in the foreground; Ctrl-C ends it
	@$(NATIVE) run-all

run-docker: .venv/.ready ## the same shop as containers, by Docker Compose; checked by tools, never run by us
	@$(RUN) -m deploy.docker.keys
	docker compose up --build --wait --wait-timeout 300

stop: .venv/.ready ## end what run-all started, from another terminal
	@$(NATIVE) stop

status: .venv/.ready ## each process, outbox lag, dead letters, overdue orders; fails when something is wrong
	@$(NATIVE) status

logs: .venv/.ready ## the end of the logs; of one process: make logs n=loms; as they grow: f=1
	@$(NATIVE) logs $(n) $(if $(f),--follow)

seed: .venv/.ready ## load goods, stock and customers into the running shop; a repeat changes nothing
	@$(NATIVE) seed

replay: .venv/.ready ## try again the events that could not be handled and the messages that could not be sent
	@$(NATIVE) replay

reset: .venv/.ready ## delete all data, logs and passwords (what was downloaded stays)
	@$(NATIVE) reset

demo: .venv/.ready ## buy and pay, then let an order run out of time; shows each step
	@$(RUN) -m deploy.demo

# By the environment, as they are: quotes and dollars in them are neither make's nor the shell's.
call: export DATA = $(value d)
call: export HEADER = $(value h)
call: .venv/.ready ## call an RPC: make call m=abacus.loms.v1.LomsService/Stocks d='{"sku":1001}'; none: list them
	@$(NATIVE) call $(m) $${DATA:+--data "$$DATA"} $${HEADER:+--header "$$HEADER"}

token: .venv/.ready ## print a token for local work: -H "authorization: Bearer $(make -s token)"
	@$(NATIVE) token

psql: .venv/.ready ## SQL prompt on a service's database: make psql s=loms
	@$(NATIVE) psql $(or $(s),loms)

topic: .venv/.ready ## print the events of a topic: make topic t=abacus.loms.order-status.v1; as they come: f=1
	@$(NATIVE) topic $(t) $(if $(f),--follow)

test: .venv/.ready ## run the tests on a stack of their own; of one place: make test t=services/loms
	@$(RUN) -m pytest $(t)

check: .venv/.ready ## format, lint, types, contracts, fresh code and documents, order-life table equal to code
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/buf lint
	.venv/bin/buf format --diff --exit-code
	.venv/bin/buf breaking --against api/released.binpb
	$(RUN) api/generate.py --check
	sh api/lint/run.sh
	$(RUN) -m pytest --quiet services/loms/tests/test_life.py

generate: .venv/.ready ## make code (api/gen) and documents (OpenAPI, AsyncAPI, collection, errors) from api/proto
	$(RUN) api/generate.py

bench: .venv/.ready ## orders a second beside what the machine gives at best, with plots; about 50 minutes
	@$(RUN) -m tests.bench --plots docs/performance
	@$(RUN) -m tests.bench.doors
	@$(RUN) -m tests.bench.search

bench-quick: .venv/.ready ## the same in short, without plots; three minutes
	@$(RUN) -m tests.bench --quick

chaos: .venv/.ready ## kill -9, races, forged, torn and odd requests at full size, with the measured figures; half an hour or more
	@CHAOS=full $(RUN) -m pytest tests/chaos tests/access tests/rest
