#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# Children do not go on paying: those that are forked while ebb watches lose the breakpoints that they inherit, at their
# first hits, and the books of the parent stay exact while the probes change over. Alone: while any other ebb is attached to
# libc's malloc by session or multi, the kernel leaves them in.
. "$(dirname "$0")/lib.sh"
need_ebb

code_is() { [ "$(code_of "$1" forks "malloc|free")" = "$2" ]; }

start forks "$PROGRAMS/forks"
await forks '^ready' || finish
clean=$(code_of "${PID[forks]}" forks "malloc|free")
check children.code "the process's code cannot be read" test "${#clean}" -gt 100 || finish

if attached_or_fail children.attach ebb1 leak "${PID[forks]}" -f folded --max-overhead none; then
	says_not children.before "$WORK/ebb1.err" 'perf'
	ask forks 'keep 10' '^ok keep'
	ask forks 'fork 10' '^ok fork'
	check children.switch "ebb does not say that the process forks" until_true 10 grep -q 'forks: attached by perf' "$WORK/ebb1.err"
	check children.stay "a child failed" ask forks 'stay 1000' '^child'
	child=$(awk '/^child/ { pid = $2 } END { print pid }' "${OUT[forks]}")
	check children.clean "the child has breakpoints after its first hits" code_is "$child" "$clean"
	check children.probed "no probe is left in the parent: the test sees none" eval '! code_is "${PID[forks]}" "$clean"'
	ask forks 'keep 5' '^ok keep'
	ask forks reap '^ok reap'
	stop ebb1
	is children.status "$STATUS" 0 || show "$WORK/ebb1.err"
	is children.parent "$(folded_sum "$WORK/ebb1.out" parent_keep)" 1500
	is children.child "$(folded_match "$WORK/ebb1.out" 'child_')" 0
	check children.after "breakpoints are left" until_true 10 code_is "${PID[forks]}" "$clean"
fi

# One that has forked children is attached to by perf events from the start.
ask forks 'stay 10' '^child'
if attached_or_fail children.known.attach ebb2 leak "${PID[forks]}" -f folded --max-overhead none; then
	says children.known.way "$WORK/ebb2.err" 'attached .* by perf'
	stop ebb2
	is children.known.status "$STATUS" 0
fi
ask forks reap '^ok reap'
stop forks TERM

# The books while the probes change over, and the children do what the parent does.
start ledger "$PROGRAMS/ledger" 400000 30
await ledger '^ready' || finish
if attached_or_fail children.ledger.attach bytes leak "${PID[ledger]}" -f folded --value held-bytes --max-overhead none &&
		attached_or_fail children.ledger.attach2 blocks leak "${PID[ledger]}" -f folded --value held-blocks --max-overhead none; then
	tell ledger go
	if await ledger '^end' 200; then
		stop bytes
		is children.ledger.status "$STATUS" 0 || show "$WORK/bytes.err"
		stop blocks
		is children.ledger.status2 "$STATUS" 0 || show "$WORK/blocks.err"
		says children.ledger.switch "$WORK/bytes.err" 'forks: attached by perf'
		check children.ledger.bytes "held bytes by site differ from the ledger" \
			sites_equal "$WORK/bytes.out" "${OUT[ledger]}" 2 '^site_'
		check children.ledger.blocks "held blocks by site differ from the ledger" \
			sites_equal "$WORK/blocks.out" "${OUT[ledger]}" 3 '^site_'
	else
		not_ok children.ledger "the ledger did not finish"
	fi
fi
tell ledger quit
wait_end ledger
is children.ledger.program "$STATUS" 0
finish
