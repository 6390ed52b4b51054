#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# A target with a root, a libc and numbers of its own, as in a container: musl, without frame pointers, in namespaces of its
# own. Its files are found where it sees them, and none of ours that has the same path is taken for one of them.
. "$(dirname "$0")/lib.sh"
need_ebb
need_root
linker=$(find /lib /usr/lib -maxdepth 3 -path '*musl*/libc.so' 2>/dev/null | head -n 1)
[ -x "$PROGRAMS/ledger-musl" ] && [ -n "$linker" ] || { skip ownroot "needs musl-gcc and musl"; finish; }
unshare -m -p -f true 2>/dev/null || { skip ownroot "no namespaces here"; finish; }

ROOTDIR=$WORK/root
mkdir -p "$ROOTDIR"/{lib,usr/bin,proc}
cp "$linker" "$ROOTDIR$(readelf -l "$PROGRAMS/ledger-musl" | sed -n 's/.*program interpreter: \(.*\)]/\1/p')"
cp "$PROGRAMS/ledger-musl" "$ROOTDIR/usr/bin/env"	# a path that is another program's here

start own unshare -m -p -u -i -f --kill-child --root="$ROOTDIR" /usr/bin/env 200000
await own '^ready 1$' || { not_ok ownroot "it did not start"; show "$WORK/own.err"; finish; }
pid=$(awk '{ print $1 }' "/proc/${PID[own]}/task/${PID[own]}/children")
if attached_or_fail ownroot.attach leak leak "$pid" -f folded --max-overhead none; then
	tell own go
	await own '^end' 60 || not_ok ownroot.ledger "the ledger did not finish"
	stop leak
	is ownroot.status "$STATUS" 0 || show "$WORK/leak.err"
	check ownroot.bytes "held bytes by site differ from the ledger" sites_equal "$WORK/leak.out" "${OUT[own]}" 2 '^site_'
	total=$(awk '/;site_/ { n += $NF } END { print n + 0 }' "$WORK/leak.out")
	whole=$(awk '/^env;(ld-musl[^;]*|__clone|start);worker_main;operate;.*site_/ { n += $NF } END { print n + 0 }' "$WORK/leak.out")
	is ownroot.whole "$whole" "$total"
	says_not ownroot.cut "$WORK/leak.err" 'cut|incomplete'
fi
tell own quit
wait_end own
is ownroot.program "$STATUS" 0

# One that goes into namespaces and to a root of its own while ebb looks, and whose own file is gone: what it loads there is found
# where it sees it, not what has the same path here.
later=$WORK/later
mkdir -p "$later$WORK"
cp "$PROGRAMS/plugin-red.so" "$later$WORK/plugin.so"
cp "$PROGRAMS/plugin-blue.so" "$WORK/plugin.so"
cp "$PROGRAMS/plugins" "$WORK/gone"
start gone "$WORK/gone"
await gone '^ready' || finish
rm "$WORK/gone"
if attached_or_fail ownroot.later.attach late leak "${PID[gone]}" -f folded --max-overhead none; then
	ask gone "use $WORK/plugin.so 4 300" '^used .*plugin'
	ask gone "unshare $later" "^used $later"
	ask gone "use $WORK/plugin.so 7 300" '^used .*plugin'
	stop late
	# the first block of a library is taken before its unwind information is read: that stack is cut
	is ownroot.later.status "$STATUS" 0 || show "$WORK/late.err"
	is ownroot.later.before "$(folded_match "$WORK/late.out" ';use;.*blue')" $((4 * 1001)) $((5 * 1001))
	is ownroot.later.after "$(folded_match "$WORK/late.out" ';use;.*red')" $((7 * 1000)) $((8 * 1000))
	check ownroot.later.alive "it died" alive "${PID[gone]}"
fi
stop gone TERM
finish
