# SPDX-License-Identifier: GPL-2.0-only
# What tests of heaps run: included by the Makefile.

HP := $(O)/tests/heap

$(HP)/walk: tests/heap/walk.c $(filter-out $(O)/user/main.o,$(OBJ))
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $(INC) -MMD -MP $(filter %.c %.o,$^) $(LIBS) -o $@

heap-tools: $(HP)/walk
.PHONY: heap-tools
-include $(wildcard $(HP)/*.d)
