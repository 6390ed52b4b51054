# SPDX-License-Identifier: GPL-2.0-only
# For gdb -x: the pcs of all frames of the thread that is in pause_here(), innermost first, without inlined ones.
import gdb

def frames():
    f = gdb.newest_frame()
    while f is not None:
        if f.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
            yield f.pc()
        f = f.older()

pause = int(gdb.parse_and_eval("(unsigned long)&pause_here")) if gdb.lookup_global_symbol("pause_here") else None
for thread in gdb.selected_inferior().threads():
    thread.switch()
    pcs = list(frames())
    names = [gdb.execute("info symbol %d" % pc, to_string=True) for pc in pcs]
    if any(n.startswith("pause_here") for n in names):
        for pc, name in zip(pcs, names):
            print("frame %#x %s" % (pc, name.strip().split(" in section")[0]))
        break
