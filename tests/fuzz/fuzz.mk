# SPDX-License-Identifier: GPL-2.0-only
# Fuzz targets: included by the Makefile. `make fuzz` builds them and runs each for FUZZ_SECONDS.
#
# clang's libFuzzer comes in a package of its own; without it nothing is built, and what needs a target skips.

F            := $(O)/fuzz
FUZZ_SECONDS ?= 60
FUZZERS      := $(patsubst tests/fuzz/%.c,$(F)/%,$(sort $(wildcard tests/fuzz/*.c)))
# All that parses what the target can write; layers above only show it.
FUZZOBJ      := $(patsubst %.c,$(F)/%.o,$(sort $(wildcard user/base/*.c user/elf/*.c user/symbol/*.c user/target/*.c)))
FUZZSAN      := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

has_fuzzer = ls "$$($(CLANG) -print-runtime-dir)"/libclang_rt.fuzzer*.a "$$($(CLANG) \
	-print-file-name=libclang_rt.fuzzer-$$(uname -m).a)" 2> /dev/null | grep -q .

$(F)/%.o: %.c $(O)/.flags
	$(call say,FUZZ,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -O1 -g $(FUZZSAN) -fsanitize=fuzzer-no-link -std=gnu11 -Wall -Wextra $(INC) -MMD -MP -c $< -o $@

$(F)/libebb.a: $(FUZZOBJ) $(O)/.objects
	$(Q)rm -f $@ && ar rcs $@ $(FUZZOBJ)

$(F)/%: tests/fuzz/%.c $(F)/libebb.a
	$(call say,FUZZ,$<)
	$(Q)mkdir -p $(@D)
	$(Q)if $(has_fuzzer); then \
		$(CLANG) -O1 -g $(FUZZSAN) -fsanitize=fuzzer -std=gnu11 -Wall -Wextra $(INC) -MMD -MP -MF $@.d $< $(F)/libebb.a \
			$(LIBS) -lpthread -o $@; \
	else \
		echo "tests/fuzz: $(CLANG) has no libFuzzer (libclang-rt-19-dev): $(@F) is not built"; \
	fi

fuzzers: $(FUZZERS)
fuzz: fuzzers $(if $(CXX32),$(P)/tiny32)
	$(Q)tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
.PHONY: fuzz fuzzers
-include $(FUZZOBJ:.o=.d) $(FUZZERS:%=%.d)
