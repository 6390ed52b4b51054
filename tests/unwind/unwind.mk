# SPDX-License-Identifier: GPL-2.0-only
# What tests of the unwinder run: included by the Makefile.

UW := $(O)/tests/unwind

$(UW)/%.bpf.o: tests/unwind/%.bpf.c $(O)/.flags
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPFCFLAGS) -MMD -MP -c $< -o $@
$(UW)/%.linked.o: $(UW)/%.bpf.o $(O)/bpf/unwind.bpf.o
	$(Q)$(BPFTOOL) gen object $@ $^
$(UW)/%.skel.h: $(UW)/%.linked.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@
$(UW)/walk: tests/unwind/walk.c $(UW)/walk.skel.h $(filter-out $(O)/user/main.o,$(OBJ))
	$(call say,TEST,$<)
	$(Q)$(CC) $(CFLAGS) $(WARN) $(INC) -iquote $(UW) -MMD -MP $(filter %.c %.o,$^) $(LIBS) -o $@

$(UW)/rows: tests/unwind/rows.c $(filter-out $(O)/user/main.o,$(OBJ))
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $(INC) -MMD -MP $(filter %.c %.o,$^) $(LIBS) -o $@

unwind-tools: $(UW)/walk $(UW)/rows
.PHONY: unwind-tools
-include $(wildcard $(UW)/*.d)
