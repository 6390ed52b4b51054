# SPDX-License-Identifier: GPL-2.0-only
# What runs in the guests of tests/vm: included by the Makefile.

V_ := $(O)/tests/vm

# With frame pointers: one of them has its own stack walked by these.
VFLAGS := -O2 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls $(WARN) -D_GNU_SOURCE -iquote bpf

$(V_)/load $(V_)/frames: $(V_)/%: tests/vm/%.c $(O)/.flags
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(VFLAGS) -MMD -MP -MF $@.d $< -lbpf -o $@
$(V_)/leave: tests/vm/leave.c $(O)/.flags
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $< -o $@

vm-programs: $(if $(filter x86,$(ARCH)),$(V_)/load $(V_)/frames $(V_)/leave)
.PHONY: vm-programs
-include $(wildcard $(V_)/*.d)
