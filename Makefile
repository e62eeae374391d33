# Copyright (C) The Astro authors
#
# The two commands are `make run` and `make test`; `make help` lists the rest.
#
# BUILD=folder     where things are built (build)
# CC=clang         another compiler
# SANITIZE=1       with AddressSanitizer and UBSan (use another BUILD)
# POINTS=1         a billing_worker that dies where a test says (another BUILD)

BUILD    ?= build
SANITIZE ?=
POINTS   ?=
PYTHON   := /usr/bin/python3

ifeq ($(origin CC),default)
CC := gcc
endif

# ASTRO_CFLAGS and ASTRO_LDFLAGS are what every program of ours is built with;
# nginx's configure has the module's in scripts/build_module.sh.
ASTRO_CFLAGS := -std=gnu11 -g -Wall -Wextra -Werror -fPIE \
                -fstack-protector-strong

ifeq ($(SANITIZE),)
ASTRO_CFLAGS  += -O2 -D_FORTIFY_SOURCE=2
ASTRO_LDFLAGS := -pie -Wl,-z,relro -Wl,-z,now
else
ASTRO_CFLAGS  += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
                 -fno-sanitize-recover=all
ASTRO_LDFLAGS := -pie -fsanitize=address,undefined
endif

ifneq ($(POINTS),)
ASTRO_CFLAGS  += -DBILLING_POINTS
endif

export BUILD CC SANITIZE

.PHONY: all
all: build

# targets: $(BUILD)/billing_worker
include billing_worker/worker.mk

# targets: unit, $(BUILD)/astro_password
include t/unit/unit.mk

# targets: fuzz, fuzz-corpus
include t/fuzz/fuzz.mk


.PHONY: build module mainline
build: module $(BUILD)/billing_worker $(BUILD)/astro_password \
       $(BUILD)/openapi.json

$(BUILD)/openapi.json: scripts/openapi.py $(wildcard conf/openapi/*.json)
	@mkdir -p $(BUILD)
	@scripts/openapi.py $@

# nginx's own make knows what has changed.
module:
	@ASTRO_BUILD=$(BUILD) ASTRO_SANITIZE=$(SANITIZE) CC=$(CC) \
	    scripts/build_module.sh

mainline:
	@test -n "$(NGINX_SRC)" || { \
	    echo "make mainline NGINX_SRC=folder with nginx's sources" >&2; \
	    exit 2; }
	@ASTRO_BUILD=$(BUILD) NGINX_SRC=$(NGINX_SRC) CC=$(CC) \
	    scripts/build_module.sh


.PHONY: run test lint integration chaos trials planted soak compare-nchan bench
run:
	@exec env ASTRO_BUILD=$(BUILD) scripts/run.sh $(ARGS)

test:
	@exec scripts/test.sh $(ARGS)

lint: build
	@ASTRO_BUILD=$(BUILD) scripts/lint.sh

integration: build
	@ASTRO_BUILD=$(BUILD) $(PYTHON) -m pytest t/integration $(ARGS)

chaos: build
	@ASTRO_BUILD=$(BUILD) $(PYTHON) -m pytest t/chaos $(ARGS)

# some crash trials; ARGS="--count 10 --kind Redis"
trials: build
	@ASTRO_BUILD=$(BUILD) $(PYTHON) t/chaos/trials.py $(ARGS)

# a test fails for each of these bugs; ARGS="fence"
planted: build unit-build
	@ASTRO_BUILD=$(BUILD) $(PYTHON) t/planted/planted.py $(ARGS)

# chaos for SOAK_SECONDS, and so many crash trials
SOAK_SECONDS ?= 300
SOAK_TRIALS ?= 300
# and after it sessions that tick for so long, and what grows meanwhile
SOAK_MINUTES ?= 30
# and after it each fuzz target: two hours in all
SOAK_FUZZ_SECONDS ?= 1440
soak: build
	@ASTRO_BUILD=$(BUILD) ASTRO_CHAOS_SECONDS=$(SOAK_SECONDS) ASTRO_SOAK=1 \
	    ASTRO_TRIALS=$(SOAK_TRIALS) $(PYTHON) -m pytest -s t/chaos $(ARGS)
	@ASTRO_BUILD=$(BUILD) ASTRO_SOAK=1 \
	    $(PYTHON) -m pytest t/integration/test_billing_heart.py \
	    t/integration/test_consult_acts.py \
	    t/integration/test_payments_at_random.py
	@ASTRO_BUILD=$(BUILD) $(PYTHON) t/bench/soak.py $(SOAK_MINUTES)
	@$(MAKE) compare-nchan ARGS=
	@$(MAKE) oracle
	@$(MAKE) fuzz FUZZ_SECONDS=$(SOAK_FUZZ_SECONDS)

# who loses what when workers are killed
compare-nchan: build
	@scripts/setup.sh bench
	@ASTRO_BUILD=$(BUILD) $(PYTHON) t/chaos/compare_nchan.py $(ARGS)

bench: build
	@scripts/setup.sh bench
	@exec env ASTRO_BUILD=$(BUILD) t/bench/run.sh $(ARGS)


# a picture of each page into $(BUILD)/shots, and those of the README
.PHONY: shots
shots: build
	@ASTRO_BUILD=$(BUILD) ASTRO_SHOTS=$(abspath $(BUILD))/shots $(PYTHON) \
	    -m pytest -q t/integration/test_web_look.py
	@ASTRO_BUILD=$(BUILD) $(PYTHON) t/shots.py docs

.PHONY: deb
deb: build
	@ASTRO_BUILD=$(BUILD) scripts/deb.sh

.PHONY: docs
docs: $(BUILD)/openapi.json
	@scripts/docs.sh


.PHONY: setup clean help
setup:
	@scripts/setup.sh test

clean:
	rm -rf build

help:
	@echo 'make run          installs, builds, starts it all, shows a'
	@echo '                  consultation; ARGS=--help for its options'
	@echo 'make test         everything that is tested'
	@echo
	@echo 'make build        module, billing_worker and tools, into $(BUILD)/'
	@echo 'make unit         unit tests of the C parts'
	@echo 'make integration  pytest against a private stack; ARGS="-k name"'
	@echo 'make chaos        kills processes in mid-session'
	@echo 'make trials       something dies, the books are right: 30 times'
	@echo 'make planted      bugs planted in copies, and which test sees each'
	@echo 'make soak         chaos for SOAK_SECONDS (300), SOAK_TRIALS (300)'
	@echo '                  crash trials, then fuzz for hours'
	@echo 'make oracle       a million random sessions against exact fractions'
	@echo 'make fuzz         parsers under libFuzzer, FUZZ_SECONDS (25) each'
	@echo 'make compare-nchan  workers killed under nchan and under ours'
	@echo 'make lint         clang-tidy, cppcheck, and the house rules'
	@echo 'make mainline     compiles the module against NGINX_SRC'
	@echo 'make bench        figures, beside those of peers'
	@echo 'make docs         the page of the API, into build/docs; served at /docs/'
	@echo 'make shots        pictures of all pages into $(BUILD)/shots, and docs/*.png'
	@echo 'make deb          Debian packages of it, into $(BUILD)/deb'
	@echo 'make setup        installs the packages that the above need'
	@echo 'make clean        removes build/ (var/ stays)'
	@echo
	@echo 'BUILD=folder  CC=clang  SANITIZE=1'
