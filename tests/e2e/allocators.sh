#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beside: waiting
# The same program on every allocator that can be had here: the one that is really used is found, and the
# numbers are the program's own.
. "$(dirname "$0")/lib.sh"
need_ebb

# Where a library is, empty when it is not installed.
library() { local f; for f in /usr/lib/*/"$1" /usr/lib64/"$1" /usr/lib/"$1" /lib/*/"$1"; do [ -e "$f" ] && { echo "$f"; return; }; done; }

# measure NAME FAMILY PROGRAM [LIBRARY]: the family is what --dry-run must call the allocator.
measure() {
	local name=allocators.$1 family=$2 program=$PROGRAMS/$3 lib=${4:-} bytes=$1-bytes blocks=$1-blocks pid
	[ -x "$program" ] || { skip "$name" "$3 is not built: its compiler is missing"; return; }
	if [ -n "$lib" ]; then start "$1" env LD_PRELOAD="$lib" "$program"; else start "$1" "$program"; fi
	await "$1" '^ready' || { not_ok "$name" "the program did not start"; return; }
	pid=${PID[$1]}
	ebb_run "$1-dry" leak "$pid" --dry-run
	is "$name.dry-run.status" "$STATUS" 0 || show "$WORK/$1-dry.err"
	says "$name.family" "$WORK/$1-dry.out" "^ *$family in .*: probed"
	[ -z "$lib" ] || says_not "$name.others" "$WORK/$1-dry.out" '^ *glibc in .*: probed'
	if attached_or_fail "$name.attach" "$bytes" leak "$pid" -f folded --max-overhead none &&
		attached_or_fail "$name.attach2" "$blocks" leak "$pid" -f folded --value held-blocks --max-overhead none; then
		ask "$1" go '^done' || not_ok "$name.program" "it did not finish"
		stop "$bytes"
		is "$name.status" "$STATUS" 0 || show "$WORK/$bytes.err"
		stop "$blocks"
		is "$name.status2" "$STATUS" 0 || show "$WORK/$blocks.err"
		check "$name.total" "total is $(folded_total "$WORK/$bytes.out"), want 1162960" \
			test "$(folded_total "$WORK/$bytes.out")" = 1162960
		if [ "$3" != allocs-stripped ]; then
			check "$name.bytes" "not the program's own numbers" \
				sites_equal "$WORK/$bytes.out" "${OUT[$1]}" 2 '^keep_'
			check "$name.blocks" "not the program's own numbers" \
				sites_equal "$WORK/$blocks.out" "${OUT[$1]}" 3 '^keep_'
		else
			check "$name.names" "no frame is allocs-stripped+0x…" \
				grep -Eq ';allocs-stripped\+0x[0-9a-f]+ [0-9]+$' "$WORK/$bytes.out"
			check "$name.wrong-names" "a name where there are no symbols" \
				eval "! grep -Eq 'keep_|_start;' '$WORK/$bytes.out'"
			is "$name.sites" "$(folded_sites "$WORK/$bytes.out" | wc -l)" 5
		fi
	fi
	# The probes are gone and it goes on.
	ask "$1" again '^ok' || not_ok "$name.after" "the program does not go on"
	tell "$1" quit
	wait_end "$1"
	is "$name.program" "$STATUS" 0
}

measure glibc glibc allocs
measure static glibc allocs-static
measure musl musl allocs-musl
measure stripped glibc allocs-stripped
for pair in jemalloc:libjemalloc.so.2 tcmalloc:libtcmalloc_minimal.so.4 mimalloc:libmimalloc.so.2.0; do
	lib=$(library "${pair#*:}")
	[ -n "$lib" ] || { skip "allocators.${pair%%:*}" "${pair#*:} is not installed"; continue; }
	measure "${pair%%:*}" "${pair%%:*}" allocs "$lib"
done

# The executable's own functions, in all ways of attaching.
for way in session multi perf; do
	EBB_ATTACH=$way measure "static-$way" glibc allocs-static
done

# Stripped and static: there is nothing to find, and that is said.
start stripped "$PROGRAMS/allocs-static-stripped"
await stripped '^ready' || finish
ebb_run refuse leak "${PID[stripped]}" -d 1s
is allocators.static-stripped.status "$STATUS" 4
says allocators.static-stripped.why "$WORK/refuse.err" 'stripped'
says allocators.static-stripped.what "$WORK/refuse.err" 'allocs-static-stripped|static'
check allocators.static-stripped.alive "the program died" ask stripped go '^done'
finish
