# SPDX-License-Identifier: GPL-2.0-only
# What records the series that the classes are tested on (tests/series/record.sh): included by the Makefile.

SR := $(O)/tests/series

$(SR)/record: tests/series/record.c $(OBJ)
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) $(INC) -Wl,--wrap=rows_classify,--wrap=trend_classify -MMD -MP $(filter %.c %.o,$^) $(LIBS) -o $@

series-tools: $(SR)/record
.PHONY: series-tools
-include $(wildcard $(SR)/*.d)
