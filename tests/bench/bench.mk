# SPDX-License-Identifier: GPL-2.0-only
# Benchmarks: included by the Makefile; `make bench` builds them, nothing else does.
#
# The product's own objects are linked, as they run in build/ebb. What is measured (victim.c, churn.c) is compiled with frame
# pointers and flags of its own, so that a stack is what the source says.

B       := $(O)/tests/bench
BPROGS  := victim churn maps storm
BSRC    := $(sort $(filter-out $(BPROGS:%=tests/bench/%.c) tests/bench/%.bpf.c,$(wildcard tests/bench/*.c)))
BOBJ    := $(BSRC:%.c=$(O)/%.o)
BENCHES := $(B)/bench $(BPROGS:%=$(B)/%) $(B)/victim-rows

$(B)/%.bpf.o: tests/bench/%.bpf.c $(O)/.flags
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPFCFLAGS) -iquote tests/bench -MMD -MP -c $< -o $@
$(O)/bench_books.skel.h: $(B)/books.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name bench_books > $@.tmp && mv $@.tmp $@
$(B)/unwind.linked.o: $(B)/unwind.bpf.o $(O)/bpf/unwind.bpf.o
	$(Q)$(BPFTOOL) gen object $@ $^
$(O)/bench_unwind.skel.h: $(B)/unwind.linked.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name bench_unwind_bpf > $@.tmp && mv $@.tmp $@
$(BOBJ): | $(O)/bench_books.skel.h $(O)/bench_unwind.skel.h
$(B)/bench: $(BOBJ) $(filter-out $(O)/user/main.o,$(OBJ))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@
$(BPROGS:%=$(B)/%): $(B)/%: tests/bench/%.c tests/bench/bench.mk $(O)/.flags
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(PFLAGS) -iquote tests/programs -MMD -MP -MF $@.d $< -o $@ -pthread

# The same without frame pointers: only rows lead through it.
$(B)/victim-rows: tests/bench/victim.c tests/bench/bench.mk $(O)/.flags
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -fomit-frame-pointer -fno-optimize-sibling-calls -fno-builtin -D_GNU_SOURCE -Wall -Wextra \
		-iquote tests/programs -MMD -MP -MF $@.d $< -o $@ -pthread

benches: $(BENCHES)
.PHONY: benches
-include $(BOBJ:.o=.d) $(BPROGS:%=$(B)/%.d) $(B)/books.bpf.d
