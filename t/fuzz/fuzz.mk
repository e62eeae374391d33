# Copyright (C) The Astro authors
#
# The parsers of core under libFuzzer, ASan and UBSan.  Included by the
# Makefile; README.md beside it tells more.
#
#     make fuzz FUZZ_SECONDS=25              each target for so long
#     make fuzz FUZZ="frame inflate"         some
#     make fuzz-corpus                       keeps what runs have found since
#
# A target is t/fuzz/fuzz_<name>.c with all units of both cores.

BUILD        ?= build
FUZZ_SECONDS ?= 25
FUZZ_CC      ?= clang

fuzz_dir   := $(BUILD)/fuzz
fuzz_san   := -fsanitize=address,undefined -fno-sanitize-recover=all
fuzz_flags := -std=gnu11 -O1 -g -Wall -Wextra -Werror -fno-omit-frame-pointer \
              -Ingx_astro_module/core -Ibilling_worker/core -It/fuzz
fuzz_libs  := -lyajl -lcrypto -lz -lpthread

fuzz_core := $(patsubst ngx_astro_module/core/%.c,$(fuzz_dir)/core/%.o, \
               $(wildcard ngx_astro_module/core/*.c)) \
             $(patsubst billing_worker/core/%.c,$(fuzz_dir)/billing/%.o, \
               $(wildcard billing_worker/core/*.c))

FUZZ ?= $(patsubst t/fuzz/fuzz_%.c,%,$(sort $(wildcard t/fuzz/fuzz_*.c)))


.PHONY: fuzz fuzz-build fuzz-corpus

fuzz: fuzz-build
	@FUZZ_DIR=$(fuzz_dir) FUZZ_SECONDS=$(FUZZ_SECONDS) \
	    t/fuzz/run.sh $(FUZZ)

fuzz-corpus: fuzz-build
	@FUZZ_DIR=$(fuzz_dir) t/fuzz/run.sh --keep $(FUZZ)

# BUILD may be given as build/asan today and with its whole path tomorrow
fuzz_deps = -MT $(abspath $@) -MT $(patsubst $(CURDIR)/%,%,$(abspath $@))

fuzz-build: $(addprefix $(fuzz_dir)/fuzz_,$(FUZZ))

$(fuzz_dir)/core/%.o: ngx_astro_module/core/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(fuzz_flags) $(fuzz_san) -fsanitize=fuzzer-no-link -MMD -MP \
	    $(fuzz_deps) -c -o $@ $<

$(fuzz_dir)/billing/%.o: billing_worker/core/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(fuzz_flags) $(fuzz_san) -fsanitize=fuzzer-no-link -MMD -MP \
	    $(fuzz_deps) -c -o $@ $<

$(fuzz_dir)/core.a: $(fuzz_core)
	@rm -f $@
	ar rcs $@ $^

$(fuzz_dir)/fuzz_%: t/fuzz/fuzz_%.c $(fuzz_dir)/core.a
	$(FUZZ_CC) $(fuzz_flags) $(fuzz_san) -fsanitize=fuzzer -MMD -MP -MF $@.d \
	    $(fuzz_deps) -o $@ $< $(fuzz_dir)/core.a $(fuzz_libs)

-include $(fuzz_core:.o=.d) $(wildcard $(fuzz_dir)/fuzz_*.d)
