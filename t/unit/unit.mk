# Copyright (C) The Astro authors
#
# Unit tests, and the tools that are made of the same units.  Included by the
# Makefile; `make -f t/unit/unit.mk unit` works, too.
#
#     make unit                              all of them
#     make unit UNIT="check_ring check_json"     some
#     make unit-measure                      what they cost
#     make oracle                            a million sessions, recomputed
#     make unit SAN=-fsanitize=thread BUILD=build/tsan CC=clang UNIT=check_ring
#
# Each t/unit/check_<name>.c is a program of its own with the units of core, and
# check_billing_* with those of billing_worker/core as well.

BUILD    ?= build
PYTHON   ?= /usr/bin/python3
SAN      ?=

ASTRO_CFLAGS ?= -std=gnu11 -O2 -g -Wall -Wextra -Werror

unit_dir   := $(BUILD)/unit
unit_flags  = $(ASTRO_CFLAGS) $(CFLAGS) $(SAN) -pthread \
              -Ingx_astro_module/core -Ibilling_worker/core -It/unit
unit_libs   = -lyajl -lcrypto -lz -lpthread
unit_check := $(shell pkg-config --libs check 2> /dev/null || echo -lcheck)

unit_core    := $(patsubst %.c,$(unit_dir)/%.o, \
                  $(wildcard ngx_astro_module/core/*.c))
unit_billing := $(patsubst %.c,$(unit_dir)/%.o, \
                  $(wildcard billing_worker/core/*.c))

UNIT ?= $(patsubst t/unit/%.c,%,$(sort $(wildcard t/unit/check_*.c)))


.PHONY: unit unit-build unit-measure unit-flags oracle

# every program says how it went, also after one that failed
unit: unit-build
	@failed=0; \
	for name in $(UNIT); do \
	    $(unit_dir)/$$name || failed=1; \
	done; \
	exit $$failed

# what the units cost: figures, no verdict
unit-measure: $(unit_dir)/measure
	@$<

# a million random sessions against exact fractions; ORACLE_MILLIONS of them
ORACLE_MILLIONS ?= 1
oracle: $(unit_dir)/check_billing_oracle
	ASTRO_EFFORT=$$((20 * $(ORACLE_MILLIONS))) CK_TIMEOUT_MULTIPLIER=100 $<

unit-build: $(addprefix $(unit_dir)/,$(UNIT)) $(BUILD)/astro_password


# objects of one compiler and set of flags are not mixed with those of another
unit_stamp := $(unit_dir)/flags

$(unit_stamp): unit-flags
	@mkdir -p $(unit_dir)
	@echo '$(CC) $(unit_flags)' | cmp -s - $@ \
	    || echo '$(CC) $(unit_flags)' > $@

$(unit_dir)/%.o: %.c $(unit_stamp)
	@mkdir -p $(@D)
	$(CC) $(unit_flags) -MMD -MP -MT $(abspath $@) \
	      -MT $(patsubst $(CURDIR)/%,%,$(abspath $@)) -c -o $@ $<

# archives: a test may bring its own copy of a unit, with faults put in
$(unit_dir)/core.a: $(unit_core)
	@rm -f $@
	ar rcs $@ $^

$(unit_dir)/billing.a: $(unit_billing)
	@rm -f $@
	ar rcs $@ $^

$(unit_dir)/check_billing_%: $(unit_dir)/t/unit/check_billing_%.o \
                             $(unit_dir)/billing.a $(unit_dir)/core.a
	$(CC) $(unit_flags) $(ASTRO_LDFLAGS) -o $@ $^ $(unit_check) $(unit_libs)

$(unit_dir)/check_%: $(unit_dir)/t/unit/check_%.o $(unit_dir)/core.a
	$(CC) $(unit_flags) $(ASTRO_LDFLAGS) -o $@ $^ $(unit_check) $(unit_libs)

$(unit_dir)/measure: $(unit_dir)/t/unit/measure.o $(unit_dir)/core.a
	$(CC) $(unit_flags) $(ASTRO_LDFLAGS) -o $@ $^ $(unit_libs)

$(BUILD)/astro_password: $(unit_dir)/scripts/astro_password.o \
                         $(unit_dir)/core.a
	$(CC) $(unit_flags) $(ASTRO_LDFLAGS) -o $@ $^ $(unit_libs)

.SECONDARY:

-include $(unit_core:.o=.d) $(unit_billing:.o=.d) \
         $(wildcard $(unit_dir)/t/unit/*.d $(unit_dir)/scripts/*.d)
