# Copyright (C) The Astro authors
#
# Builds billing_worker.  Included by the Makefile;
# `make -f billing_worker/worker.mk` from the top folder works, too.
#
#     make build/billing_worker
#     make BUILD=build/asan SAN=-fsanitize=address,undefined ...
#
# Needs libpq-dev, libhiredis-dev, libuv1-dev, libcurl4-openssl-dev, libssl-dev,
# pkg-config.

BUILD   ?= build
SAN     ?=

ASTRO_CFLAGS ?= -std=gnu11 -O2 -g -Wall -Wextra -Werror

worker_dir   := $(BUILD)/worker
worker_pkgs  := libpq hiredis libuv libcurl libcrypto
worker_flags  = $(ASTRO_CFLAGS) $(CFLAGS) $(SAN) -D_GNU_SOURCE \
                -Ingx_astro_module/core -Ibilling_worker/core \
                -Ibilling_worker \
                $(filter-out -I/usr/include/hiredis,\
                  $(shell pkg-config --cflags $(worker_pkgs)))
worker_libs   = $(shell pkg-config --libs $(worker_pkgs))

worker_objs  := $(patsubst %.c,$(worker_dir)/%.o, \
                  $(wildcard billing_worker/*.c billing_worker/core/*.c) \
                  ngx_astro_module/core/astro_otp.c \
                  ngx_astro_module/core/astro_session.c \
                  ngx_astro_module/core/astro_tick.c)


.PHONY: worker worker-flags

worker: $(BUILD)/billing_worker

$(BUILD)/billing_worker: $(worker_objs)
	$(CC) $(worker_flags) $(ASTRO_LDFLAGS) -o $@ $^ $(worker_libs)

# objects of one compiler and set of flags are not mixed with those of another
worker_stamp := $(worker_dir)/flags

$(worker_stamp): worker-flags
	@mkdir -p $(worker_dir)
	@echo '$(CC) $(worker_flags)' | cmp -s - $@ \
	    || echo '$(CC) $(worker_flags)' > $@

# BUILD may be given as build/asan today and with its whole path tomorrow
worker_deps = -MT $(abspath $@) -MT $(patsubst $(CURDIR)/%,%,$(abspath $@))

$(worker_dir)/%.o: %.c $(worker_stamp)
	@mkdir -p $(@D)
	$(CC) $(worker_flags) -MMD -MP $(worker_deps) -c -o $@ $<

-include $(worker_objs:.o=.d)
