# SPDX-License-Identifier: GPL-2.0-only
# Test programs: included by the Makefile. Target `programs` builds all into $(O)/tests/programs/NAME.
#
# Frame pointers, no jumps instead of calls, nothing that the compiler knows of malloc: a stack and a sum
# are then what the source says. Not the product's flags: what is measured must not change with -O.
# A program whose compiler is missing is left out, and the script that needs it says so.

P        := $(O)/tests/programs
PFLAGS   := -O1 -g -D_GNU_SOURCE -Wall -Wextra -fno-builtin -fno-omit-frame-pointer -fno-optimize-sibling-calls
PMAKE    := tests/programs/programs.mk $(O)/.flags
MUSLGCC  := $(shell command -v musl-gcc)
CXX32    := $(filter y,$(shell echo 'int x;' | $(CC) -m32 -x c -c -o /dev/null - 2>/dev/null && echo y))
HAVECXX  := $(shell command -v $(CXX))

PROGRAMS := pairs parts ledger-static server libcache.so libsession.so ledger grow edges mortal forks family deep portlab worker allocs allocs-static \
	    allocs-stripped allocs-static-stripped
PROGRAMS += toucher mappings plugins plugin-red.so plugin-blue.so plugin-own.so
PROGRAMS += heaplab heaplab-static heaplab-static-stripped
PROGRAMS += unwindlab unwindlab-static unwindlab-stripped $(if $(filter x86,$(HOST)),unwindlab-ibt) $(if $(HAVECXX),unwindthrow)
PROGRAMS += $(if $(MUSLGCC),allocs-musl ledger-musl mappings-musl unwindlab-musl) $(if $(HAVECXX),newthrow newsites) $(if $(CXX32),tiny32)

programs: $(PROGRAMS:%=$(P)/%)

# $(1): compiler and flags.
define pcc
$(call say,PROG,$@)
$(Q)mkdir -p $(@D)
$(Q)$(1) $(PFLAGS) -MMD -MP -MF $@.d $(filter %.c %.cc,$^) -o $@ $(2)
endef

$(P)/%: tests/programs/%.c $(PMAKE)
	$(call pcc,$(CC),-pthread)

$(P)/lib%.so: tests/programs/%.c $(PMAKE)
	$(call pcc,$(CC) -shared -fPIC,-pthread -Wl$(comma)-soname$(comma)$(@F))

$(P)/server: tests/programs/server.c $(PMAKE) | $(P)/libcache.so $(P)/libsession.so
	$(call pcc,$(CC),-pthread -L$(P) -lcache -lsession -Wl$(comma)-rpath$(comma)'$$ORIGIN')

# As vendors build them: without frame pointers. Of one size, so that one finds room where the other stood.
$(P)/plugin-red.so $(P)/plugin-blue.so: $(P)/plugin-%.so: tests/programs/plugin.c $(PMAKE)
	$(call pcc,$(CC) -shared -fPIC,-O2 -fomit-frame-pointer $(PLUGIN_$*))
PLUGIN_red  := -DNAME=red -DFRAME_BYTES=200 -DBLOCK_BYTES=1000
PLUGIN_blue := -DNAME=blue -DFRAME_BYTES=1000 -DBLOCK_BYTES=1001
$(P)/plugin-own.so: tests/programs/plugin_own.c $(PMAKE)
	$(call pcc,$(CC) -shared -fPIC,-O2 -fomit-frame-pointer)
$(P)/plugins: tests/programs/plugins.c $(PMAKE)
	$(call pcc,$(CC),-ldl)

$(P)/portlab: tests/programs/portlab.c tests/programs/portways.c $(PMAKE)
	$(call pcc,$(CC),-pthread)

# The unit test of the worker without the sanitizers, whose memory no limit can hold.
$(P)/worker: tests/unit/test_worker.c $(O)/user/base/worker.o $(O)/user/base/sandbox.o $(O)/user/base/text.o \
	     $(O)/user/base/memo.o $(O)/user/base/hashmap.o $(PMAKE)
	$(call say,PROG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) -iquote tests $(INC) -MMD -MP -MF $@.d $(filter %.c %.o,$^) -o $@

# Only the wrappers of tail.c may jump.
$(P)/tail.o: tests/programs/tail.c $(PMAKE)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(PFLAGS) -O2 -fomit-frame-pointer -foptimize-sibling-calls -MMD -MP -MF $@.d -c $< -o $@
$(P)/edges: tests/programs/edges.c $(P)/tail.o $(PMAKE)
	$(call pcc,$(CC),$(P)/tail.o -pthread)

$(P)/allocs-static: tests/programs/allocs.c $(PMAKE)
	$(call pcc,$(CC) -static)
$(P)/allocs-musl: tests/programs/allocs.c $(PMAKE)
	$(call pcc,$(MUSLGCC) -static)
$(P)/ledger-static: tests/programs/ledger.c $(PMAKE)
	$(call pcc,$(CC) -static,-pthread)
$(P)/ledger-musl: tests/programs/ledger.c $(PMAKE)
	$(call pcc,$(MUSLGCC),-O2 -fomit-frame-pointer -pthread)
$(P)/mappings-musl: tests/programs/mappings.c $(PMAKE)
	$(call pcc,$(MUSLGCC),-pthread)
$(P)/heaplab-static: tests/programs/heaplab.c $(PMAKE)
	$(call pcc,$(CC) -static,-pthread)
$(P)/heaplab-static-stripped: $(P)/heaplab-static
	$(Q)strip -o $@ $<
$(P)/allocs-stripped: $(P)/allocs
	$(Q)strip -o $@ $<
$(P)/allocs-static-stripped: $(P)/allocs-static
	$(Q)strip -o $@ $<
$(P)/newthrow: tests/programs/newthrow.cc $(PMAKE)
	$(call pcc,$(CXX))
$(P)/newsites: tests/programs/newsites.cc $(PMAKE)
	$(call pcc,$(CXX) -std=c++17)
$(P)/tiny32: tests/programs/tiny32.c $(PMAKE)
	$(call pcc,$(CC) -m32 -nostdlib -static -fno-pic)

# No frame pointers: only unwind rows lead through these.
UFLAGS := -O2 -g -D_GNU_SOURCE -Wall -Wextra -fomit-frame-pointer
define ucc
$(call say,PROG,$@)
$(Q)mkdir -p $(@D)
$(Q)$(1) $(UFLAGS) -MMD -MP -MF $@.d $< -o $@ -pthread
endef
$(P)/unwindlab: tests/programs/unwindlab.c $(PMAKE)
	$(call ucc,$(CC) -Wl$(comma)-z$(comma)lazy)
$(P)/unwindlab-ibt: tests/programs/unwindlab.c $(PMAKE)
	$(call ucc,$(CC) -fcf-protection -Wl$(comma)-z$(comma)lazy$(comma)-z$(comma)ibtplt)
$(P)/unwindlab-static: tests/programs/unwindlab.c $(PMAKE)
	$(call ucc,$(CC) -static)
$(P)/unwindlab-musl: tests/programs/unwindlab.c $(PMAKE)
	$(call ucc,$(MUSLGCC) -static -DNO_CONTEXT)
$(P)/unwindthrow: tests/programs/unwindthrow.cc $(PMAKE)
	$(call ucc,$(CXX))
$(P)/unwindlab-stripped: $(P)/unwindlab
	$(Q)strip -o $@ $<

comma := ,
