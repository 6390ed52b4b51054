#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# The books at their limits: nothing is missing that was not counted as lost, and nothing is lost that there
# was room for.
#
# BOOKS_BLOCKS sets how many blocks the growing program makes (4,194,304).
. "$(dirname "$0")/lib.sh"
need_ebb

# lost_cnt FILE REGEX: sum of the counts of all loss lines that match.
lost_cnt() { grep -E 'lost: [0-9]' "$1" | grep -E -- "$2" | sed 's/.*lost: \([0-9,]*\).*/\1/; s/,//g' | awk '{ n += $1 } END { print n + 0 }'; }

# --- too little memory for the blocks ---
blocks=1000000
start grow "$PROGRAMS/grow" "$blocks"
await grow '^ready' || finish
if attached_or_fail books.full.attach full leak "${PID[grow]}" -f folded --value held-blocks --max-memory 4M \
		--max-overhead none &&
	attached_or_fail books.full.table.attach table leak "${PID[grow]}" -i 1s --max-memory 4M --max-overhead none; then
	tell grow go
	await grow '^done' 120 || not_ok books.full.program "the program did not finish"
	stop full
	is books.full.status "$STATUS" 3
	stop table
	is books.full.table.status "$STATUS" 3
	held=$(folded_sum "$WORK/full.out" grow_block) lost=$(lost_cnt "$WORK/full.err" .)
	note "held $held, lost $lost of $blocks"
	check books.full.some "nothing was held: held $held" test "$held" -gt 10000
	is books.full.sum $((held + lost)) "$blocks"
	says books.full.why "$WORK/full.err" 'lost: [0-9,]+ .*full.*max-memory'
	table_last "$WORK/table.out" >"$WORK/table.last"
	says books.full.table.head "$WORK/table.last" '^ *leak .*lost [1-9]'
	says books.full.table.why "$WORK/table.last" 'lost: [0-9,]+ .*full'
fi
stop grow TERM

# What was lost is unknown when it is freed: it takes nothing from anybody, and all else is booked back.
start grow "$PROGRAMS/grow" 400000
await grow '^ready' || finish
if attached_or_fail books.free.attach full leak "${PID[grow]}" -f folded --value held-blocks --max-memory 4M \
		--max-overhead none; then
	tell grow go
	await grow '^done' 120 && ask grow free '^freed' 120
	stop full
	is books.free.status "$STATUS" 3
	is books.free.held "$(folded_sum "$WORK/full.out" grow_block)" 0
fi
stop grow TERM

# --- more stacks than there is room for ---
stacks=30000
start deep "$PROGRAMS/deep" "$stacks" 15
await deep '^ready' || finish
if attached_or_fail books.stacks.attach deep1 leak "${PID[deep]}" -f folded --max-memory 16M --max-overhead none &&
	attached_or_fail books.stacks.table.attach deep2 leak "${PID[deep]}" -i 1s --max-memory 16M --max-overhead none; then
	tell deep go
	await deep '^done' 120
	stop deep1
	is books.stacks.status "$STATUS" 3
	stop deep2
	is books.stacks.table.status "$STATUS" 3
	full=$(folded_sum "$WORK/deep1.out" '[stacks_full]')
	note "[stacks full]: $full bytes of $((stacks * 32))"
	check books.stacks.row "no row [stacks full]" test "$full" -gt 0
	is books.stacks.sum $(($(folded_sum "$WORK/deep1.out" deep_block) + full)) $((stacks * 32))
	is books.stacks.lost "$(lost_cnt "$WORK/deep1.err" 'stacks full')" $((full / 32))
	table_last "$WORK/deep2.out" >"$WORK/table.last"
	says books.stacks.table.row "$WORK/table.last" '\[stacks full\]'
fi
stop deep TERM

# Room for all: as many rows as stacks. Not in one burst: new stacks go through a ring, and whether its reader is
# scheduled in time is nothing to test.
start deep "$PROGRAMS/deep" 16384 14 128
await deep '^ready' || finish
if attached_or_fail books.deep.attach deep1 leak "${PID[deep]}" -f folded --max-overhead none; then
	tell deep go
	await deep '^done' 120
	stop deep1
	is books.deep.status "$STATUS" 0 || show "$WORK/deep1.err"
	is books.deep.stacks "$(grep -c ';deep_block ' "$WORK/deep1.out")" 16384
	is books.deep.bytes "$(folded_sum "$WORK/deep1.out" deep_block)" $((16384 * 32))
fi
stop deep TERM

# --- from nothing to millions of live blocks on two threads ---
blocks=${BOOKS_BLOCKS:-4194304}
start grow "$PROGRAMS/grow" "$blocks"
await grow '^ready' || finish
if attached_or_fail books.grow.attach big leak "${PID[grow]}" -f folded --max-memory 512M --max-overhead none; then
	tell grow go
	if await grow '^done' 300; then
		stop big
		is books.grow.status "$STATUS" 0 || show "$WORK/big.err"
		is books.grow.bytes "$(folded_sum "$WORK/big.out" grow_block)" "$(awk '/^done/ { print $3 }' "${OUT[grow]}")"
	else
		not_ok books.grow.program "the program did not finish"
	fi
fi
stop grow TERM

# Up and down again, each block freed by the thread that did not allocate it.
blocks=$((blocks / 4))
start grow "$PROGRAMS/grow" "$blocks"
await grow '^ready' || finish
if attached_or_fail books.shrink.attach big leak "${PID[grow]}" -f folded --value held-blocks --max-overhead none &&
	attached_or_fail books.shrink.attach2 all leak "${PID[grow]}" -f folded --value alloc-blocks --max-overhead none; then
	tell grow go
	await grow '^done' 300 && ask grow free '^freed' 300 || not_ok books.shrink.program "not freed in time"
	stop big
	is books.shrink.status "$STATUS" 0 || show "$WORK/big.err"
	stop all
	is books.shrink.status2 "$STATUS" 0 || show "$WORK/all.err"
	is books.shrink.held "$(folded_sum "$WORK/big.out" grow_block)" 0
	is books.shrink.all "$(folded_sum "$WORK/all.out" grow_block)" "$blocks"
fi
finish
