# SPDX-License-Identifier: GPL-2.0-only
#
# make              build build/ebb (no root; tools/deps.sh installs what it needs)
# make demo         root: dependencies, build, then ebb leak on a bundled server with a leak
# make check        root: dependencies, build, every test; ends with "N passed, N failed, N skipped"
# make check-long   root: the same, then soaks and long runs
# make bench        root: all measurements, or one: make bench BENCH=leak.books
# make install      PREFIX=/usr/local DESTDIR=
# make bpf          the BPF objects only; make ARCH=arm64 bpf puts those of arm64 into build/arm64
# make unit         build and run the unit tests only, no root
# make fuzz         build and run the fuzz targets, no root: FUZZ_SECONDS=60 each, or one: make fuzz FUZZ=elf
# make clean        remove build/
#
# V=1 shows the commands. Everything that is made goes under build/.

HOST    := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(shell uname -m)))
OTHER   := $(if $(filter x86,$(HOST)),arm64,x86)
ARCH    := $(HOST)
O       := build$(if $(filter $(HOST),$(ARCH)),,/$(ARCH))
CC      ?= cc
# The same choice as in tools/deps.sh: 19 is the one that is tested.
CLANG   ?= $(shell for c in clang-19 clang-29 clang-28 clang-27 clang-26 clang-25 clang-24 clang-23 clang-22 clang-21 clang-20 \
		clang-18 clang-17 clang-16 clang; do command -v $$c && break; done)
# Ubuntu's bpftool is a wrapper that runs only with the tools of the running kernel; those of any kernel will do.
BPFTOOL ?= $(shell for b in bpftool /usr/sbin/bpftool /usr/lib/linux-tools/*/bpftool; do \
		$$b version > /dev/null 2>&1 && echo $$b && break; done)
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1

CFLAGS  ?= -O2 -g
WARN    := -std=gnu11 -Wall -Wextra -Wshadow -Wundef -Wstrict-prototypes -Wmissing-prototypes -Wvla
# -iquote, never -I: a top-level folder named bpf must not shadow libbpf's <bpf/...>.
INC     := -iquote user -iquote bpf -iquote $(O) -D_GNU_SOURCE -DEBB_VERSION='"$(VERSION)"'
LIBS    := -lbpf -ldw -lelf -lz -llzma -lcapstone -liberty -lm

BPFCFLAGS := --target=bpf -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations \
	     -D__TARGET_ARCH_$(ARCH) -isystem vmlinux/$(ARCH) -iquote bpf

SRC     := $(sort $(wildcard user/*.c user/*/*.c))
OBJ     := $(SRC:%.c=$(O)/%.o)
# Unit tests run the product under the sanitizers, so all of it but main() is built a second time.
SANOBJ  := $(patsubst %.c,$(O)/san/%.o,$(filter-out user/main.c,$(SRC)))
SAN     := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SKEL    := $(filter-out unwind,$(patsubst bpf/%.bpf.c,%,$(sort $(wildcard bpf/*.bpf.c))))
UNIT    := $(patsubst tests/unit/%.c,$(O)/tests/unit/%,$(sort $(wildcard tests/unit/test_*.c)))

Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

all: $(O)/ebb programs unwind-tools symbol-tools series-tools heap-tools vm-programs

$(O)/ebb: $(OBJ) $(O)/.objects
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(OBJ) $(LIBS) -o $@

# Files that are written anew when the flags or the list of sources change, and only then: a removed file or another
# CFLAGS rebuilds what it must, and make -q can tell that there is nothing to do.
FLAGS   := $(CC) $(CFLAGS) $(WARN) $(INC) $(CLANG) $(BPFCFLAGS) $(BPFTOOL)
OBJECTS := $(OBJ) $(CC) $(CFLAGS) $(LDFLAGS) $(LIBS)
ifneq ($(strip $(FLAGS)),$(strip $(file <$(O)/.flags)))
$(O)/.flags: force
endif
ifneq ($(strip $(OBJECTS)),$(strip $(file <$(O)/.objects)))
$(O)/.objects: force
endif
$(O)/.flags $(O)/.objects:
	@mkdir -p $(O)
	@printf '%s\n' '$(subst ','\'',$(if $(filter %.flags,$@),$(FLAGS),$(OBJECTS)))' > $@

$(O)/%.o: %.c $(O)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $(INC) -MMD -MP -c $< -o $@

$(O)/san/%.o: %.c $(O)/.flags
	$(call say,SAN,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O1 -g $(SAN) $(WARN) $(INC) -MMD -MP -c $< -o $@

$(O)/bpf/%.bpf.o: bpf/%.bpf.c $(O)/.flags
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPFCFLAGS) -MMD -MP -c $< -o $@

# Every source is linked with the unwinder into one object, then turned into a skeleton.
$(O)/bpf/%.linked.o: $(O)/bpf/%.bpf.o $(O)/bpf/unwind.bpf.o
	$(Q)$(BPFTOOL) gen object $@ $^
$(O)/%.skel.h: $(O)/bpf/%.linked.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@

# First builds have no .d files yet: skeletons before the only folder that includes them.
$(patsubst %.c,$(O)/%.o,$(wildcard user/source/*.c)) $(patsubst %.c,$(O)/san/%.o,$(wildcard user/source/*.c)): \
	| $(SKEL:%=$(O)/%.skel.h)

$(O)/libebbsan.a: $(SANOBJ) $(O)/.objects
	$(Q)rm -f $@ && ar rcs $@ $(SANOBJ)

$(O)/tests/unit/%: tests/unit/%.c $(O)/libebbsan.a
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O1 -g $(SAN) $(WARN) -Wno-missing-prototypes -iquote tests -isystem tests/shim $(INC) -MMD -MP \
		$< $(O)/libebbsan.a $(LIBS) -lpthread -o $@

# Lying rows lead to slots that are not aligned; the walker's loads may be so on its machines.
$(addprefix $(O)/tests/unit/test_unwind,$(empty) _lies _same): private SAN += -fno-sanitize=alignment

include tests/programs/programs.mk
include tests/bench/bench.mk
include tests/unwind/unwind.mk
include tests/symbol/symbol.mk
include tests/heap/heap.mk
include tests/fuzz/fuzz.mk
include tests/series/series.mk
include tests/vm/vm.mk

bpf: $(SKEL:%=$(O)/bpf/%.linked.o) $(UW)/walk.linked.o
# Those of the machine that this one is not.
bpf-other:
	$(Q)$(MAKE) --no-print-directory ARCH=$(OTHER) O=$(O)/$(OTHER) bpf
unit: $(UNIT) programs
	$(Q)tests/run unit
deps:
	$(Q)tools/deps.sh
check: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all bpf-other fuzzers $(UNIT)
	$(Q)tests/run
check-long: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all bpf-other fuzzers $(UNIT)
	$(Q)tests/run --long
demo: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all
	$(Q)tools/demo.sh
bench: all benches
	$(Q)tests/bench/run $(BENCH)
install: $(O)/ebb
	install -D -m 755 $(O)/ebb $(DESTDIR)$(PREFIX)/bin/ebb
	install -D -m 644 tools/man/ebb.8 $(DESTDIR)$(PREFIX)/share/man/man8/ebb.8
clean:
	rm -rf $(O)

.PHONY: all bpf bpf-other unit deps check check-long demo bench install clean force programs
.DELETE_ON_ERROR:
.SECONDARY:
-include $(OBJ:.o=.d) $(SANOBJ:.o=.d) $(wildcard $(O)/bpf/*.d $(O)/tests/*/*.d)
