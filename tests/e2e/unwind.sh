#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# Stacks of every kind without frame pointers: the walker in the kernel and gdb see the same callers, and the walker knows
# that it has come to the end.
. "$(dirname "$0")/lib.sh"
need_ebb
WALK=$ROOT/${O:-build}/tests/unwind/walk
TOOLS=$ROOT/tests/unwind
command -v gdb >/dev/null || { skip unwind "gdb is not installed"; finish; }
command -v python3 >/dev/null || { skip unwind "python3 is not installed"; finish; }

# The callers of pause_here that the walker saw, one address a line.
walk_callers() { awk '/^0x/ { if (n++) print $1 }' "$1"; }
walk_end() { awk '/^stack/ { print $3; exit }' "$1"; }
gdb_callers() { awk '/^frame/ { if (seen) print $2; if ($3 ~ /^pause_here/) seen = 1 }' "$1"; }

# compare NAME END PROGRAM MODE…: END is how the walk should end; "any": gdb may know more than CFI says.
compare() {
	local name=unwind.$1 end=$2 program=$3 offset missing mode=${4:-}
	shift 3
	[ -x "$program" ] || { skip "$name" "$(basename "$program") was not built"; return; }
	offset=$(python3 "$TOOLS/site.py" "${SYMBOLS:-$program}" pause_here) || { not_ok "$name" "no pause_here"; return; }
	start lab "$program" "$@"
	await lab '^ready' || { not_ok "$name" "the program does not start"; return; }
	start walk "$WALK" "${PID[lab]}" "$program" "$offset" -n 1
	await_err walk '^ready' || { not_ok "$name" "walk does not attach"; stop lab KILL; return; }
	tell lab go
	await lab '^paused' || { not_ok "$name" "it does not pause"; stop walk KILL; stop lab KILL; return; }
	wait_end walk 20
	cp "${OUT[walk]:-$WORK/walk.out}" "$WORK/$name.walk" 2>/dev/null || cp "$WORK/walk.out" "$WORK/$name.walk"
	timeout 60 gdb -nx -batch -iex 'set debuginfod enabled off' -iex 'set auto-load off' -iex 'set backtrace past-main on' -iex 'set backtrace past-entry on' ${SYMBOLS:+-iex "file $SYMBOLS"} \
		-p "${PID[lab]}" -x "$TOOLS/gdb_frames.py" </dev/null >"$WORK/$name.gdb" 2>"$WORK/$name.gdberr"
	tell lab on
	stop lab KILL
	walk_callers "$WORK/$name.walk" >"$WORK/a"
	gdb_callers "$WORK/$name.gdb" >"$WORK/b"
	[ -s "$WORK/b" ] || { not_ok "$name" "gdb shows nothing"; tail -n 3 "$WORK/$name.gdberr" >&2; return; }
	is "$name.end" "$(walk_end "$WORK/$name.walk")" "$end" || show "$WORK/$name.walk"
	# gdb goes on beyond a context's first function, into what lies above it on the stack
	if [ "$end" = depth ] || [ "$mode" = context ]; then
		missing=$(wc -l <"$WORK/a")
		head -n "$missing" "$WORK/b" >"$WORK/c" && mv "$WORK/c" "$WORK/b"
	fi
	if cmp -s "$WORK/a" "$WORK/b"; then
		ok "$name"
	else
		not_ok "$name" "gdb sees $(wc -l <"$WORK/b") callers, the walker $(wc -l <"$WORK/a"), and not the same"
		{ paste -d ' ' "$WORK/a" "$WORK/b" | head -n 30; grep ^frame "$WORK/$name.gdb" | head -n 30; } >&2
	fi
}

for mode in alloca large frame realigned noreturn tail signal fault nested longjmp thread qsort once asm_cfi asm_frame; do
	compare "$mode" ended "$PROGRAMS/unwindlab" "$mode"
done
# All callers are there; but what makecontext() lets the first function return to does not say in its CFI that it has no caller.
compare context frame-pointer "$PROGRAMS/unwindlab" context
# In a PLT entry, before and behind its push.
if [ "$(uname -m)" = x86_64 ]; then
	for n in 0 6 11; do compare "plt.$n" ended "$PROGRAMS/unwindlab" plt "$n"; done
	for n in 0 4 9; do compare "plt.ibt.$n" ended "$PROGRAMS/unwindlab-ibt" plt "$n"; done
fi
for n in 1 22 100 120; do compare "deep.$n" ended "$PROGRAMS/unwindlab" deep "$n"; done
compare deep.200 depth "$PROGRAMS/unwindlab" deep 200
for mode in deep signal thread qsort; do compare "static.$mode" ended "$PROGRAMS/unwindlab-static" "$mode"; done
for mode in deep signal realigned qsort; do
	SYMBOLS=$PROGRAMS/unwindlab compare "stripped.$mode" ended "$PROGRAMS/unwindlab-stripped" "$mode"
done
for mode in destructor catch new; do compare "$mode" ended "$PROGRAMS/unwindthrow" "$mode"; done
finish
