# SPDX-License-Identifier: GPL-2.0-only
# What runs in the guests of tests/vm: included by the Makefile.

V_ := $(O)/tests/vm

$(V_)/load: tests/vm/load.c $(O)/.flags
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) -D_GNU_SOURCE $< -lbpf -o $@
$(V_)/leave: tests/vm/leave.c $(O)/.flags
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $< -o $@

vm-programs: $(if $(filter x86,$(ARCH)),$(V_)/load $(V_)/leave)
.PHONY: vm-programs
