# SPDX-License-Identifier: GPL-2.0-only
# What tests of names run: included by the Makefile.

ST := $(O)/tests/symbol

$(ST)/names: tests/symbol/names.c $(filter-out $(O)/user/main.o,$(OBJ))
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $(INC) -MMD -MP $(filter %.c %.o,$^) $(LIBS) -o $@

symbol-tools: $(ST)/names
.PHONY: symbol-tools
-include $(wildcard $(ST)/*.d)
