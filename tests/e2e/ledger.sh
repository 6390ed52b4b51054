#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# Eight threads, two million seeded operations, a ledger by call site: what ebb holds equals it exactly, with
# every way of attaching. Two ebbs watch at the same time, one for bytes and one for blocks.
#
# LEDGER_OPS sets the number of operations.
. "$(dirname "$0")/lib.sh"
need_ebb

for way in session multi perf; do
	name=ledger.$way
	start ledger "$PROGRAMS/ledger" "${LEDGER_OPS:-2000000}"
	await ledger '^ready' || { not_ok "$name" "the program did not start"; continue; }
	pid=${PID[ledger]}
	export EBB_ATTACH=$way
	if attached_or_fail "$name.bytes.attach" bytes leak "$pid" -f folded --value held-bytes --max-overhead none &&
		attached_or_fail "$name.blocks.attach" blocks leak "$pid" -f folded --value held-blocks --max-overhead none; then
		tell ledger go
		if await ledger '^end' 280; then
			stop bytes
			is "$name.bytes.status" "$STATUS" 0 || show "$WORK/bytes.err"
			stop blocks
			is "$name.blocks.status" "$STATUS" 0 || show "$WORK/blocks.err"
			check "$name.bytes" "held bytes by site differ from the ledger" \
				sites_equal "$WORK/bytes.out" "${OUT[ledger]}" 2 '^site_'
			check "$name.blocks" "held blocks by site differ from the ledger" \
				sites_equal "$WORK/blocks.out" "${OUT[ledger]}" 3 '^site_'
			# A call site that is new to ebb has lost its name or its caller.
			check "$name.sites" "stacks of the workers that end in no site" \
				eval "! grep ';operate;' '$WORK/bytes.out' | grep -Evq ';site_[a-z_]+_[0-9] [0-9]+\$'"
			says_not "$name.warnings" "$WORK/bytes.err" 'lost [1-9]|[1-9][0-9]* lost'
		else
			not_ok "$name" "the ledger did not finish"
		fi
	fi
	[ -z "${PID[bytes]:-}" ] || stop bytes
	[ -z "${PID[blocks]:-}" ] || stop blocks
	unset EBB_ATTACH
	tell ledger quit
	wait_end ledger
	is "$name.program" "$STATUS" 0
done
finish
