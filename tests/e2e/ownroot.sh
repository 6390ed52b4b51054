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
finish
