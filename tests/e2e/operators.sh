#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beside: waiting
# C++ on allocators that bring an operator new of their own, which does not pass through malloc and may throw: every form of
# new and delete is counted exactly, every bad_alloc is caught, with each way of attaching.
. "$(dirname "$0")/lib.sh"
need_ebb
[ -x "$PROGRAMS/newsites" ] || { skip operators "there is no C++ compiler"; finish; }

library() { local f; for f in /usr/lib/*/"$1" /usr/lib64/"$1" /usr/lib/"$1" /lib/*/"$1"; do [ -e "$f" ] && { echo "$f"; return; }; done; }

# measure NAME [LIBRARY]: THROWS says whether its operator new throws at all.
measure() {
	local name=operators.$1
	if [ -n "${2:-}" ]; then start "$1" env LD_PRELOAD="$2" "$PROGRAMS/newsites"; else start "$1" "$PROGRAMS/newsites"; fi
	await "$1" '^ready' || { not_ok "$name" "the program did not start"; return; }
	if attached_or_fail "$name.attach" bytes leak "${PID[$1]}" -f folded --value held-bytes --max-overhead none &&
			attached_or_fail "$name.attach2" blocks leak "${PID[$1]}" -f folded --value held-blocks --max-overhead none; then
		says_not "$name.warns" "$WORK/bytes.err" 'not (probed|seen)'
		[ "$THROWS" = no ] || check "$name.caught" "a bad_alloc was not caught" ask "$1" 'throw 200' '^caught 200$'
		ask "$1" 'churn 300' '^ok churn'
		ask "$1" hold '^ok hold'
		[ "$THROWS" = no ] || ask "$1" 'throw 100' '^caught 100$'
		ask "$1" 'churn 300' '^ok churn'
		stop bytes
		is "$name.status" "$STATUS" 0 || show "$WORK/bytes.err"
		stop blocks
		is "$name.status2" "$STATUS" 0 || show "$WORK/blocks.err"
		grep '^site_' "${OUT[$1]}" >"$WORK/want"
		is "$name.sites" "$(wc -l <"$WORK/want")" 8
		check "$name.bytes" "held bytes differ" eval "sites_sums '$WORK/bytes.out' 2"
		check "$name.blocks" "held blocks differ" eval "sites_sums '$WORK/blocks.out' 3"
		check "$name.callers" "a stack does not lead to main" \
			eval "[ -s '$WORK/bytes.out' ] && ! grep ';site_' '$WORK/bytes.out' | grep -vq ';main;.*;\\?site_'"
	fi
	check "$name.after" "the program does not go on" ask "$1" 'churn 10' '^ok churn 10'
	tell "$1" quit
	wait_end "$1"
	is "$name.program" "$STATUS" 0
}

# sites_sums FOLDED COLUMN: the sums of all sites are those that the program prints.
sites_sums() {
	local site bytes blocks want bad=0
	while read -r site bytes blocks; do
		want=$bytes
		[ "$2" = 2 ] || want=$blocks
		[ "$(folded_sum "$1" "$site(unsigned_long)")" = "$want" ] && continue
		note "$site: want $want, got $(folded_sum "$1" "$site(unsigned_long)")"
		bad=1
	done <"$WORK/want"
	return $bad
}

for pair in jemalloc:libjemalloc.so.2 tcmalloc:libtcmalloc_minimal.so.4 mimalloc:libmimalloc.so.2.0; do
	lib=$(library "${pair#*:}")
	[ -n "$lib" ] || { skip "operators.${pair%%:*}" "${pair#*:} is not installed"; continue; }
	THROWS=yes
	[ "${pair%%:*}" != mimalloc ] || THROWS=no	# built as C: its operator new ends the program
	measure "${pair%%:*}" "$lib"
done
THROWS=yes
measure glibc
for way in perf; do
	export EBB_ATTACH=$way
	lib=$(library libtcmalloc_minimal.so.4)
	[ -n "$lib" ] || continue
	measure "tcmalloc-$way" "$lib"
done
finish
