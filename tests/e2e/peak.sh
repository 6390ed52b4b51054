#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# --value peak-bytes: what was held for a while and is gone again, in the table and as folded stacks.
. "$(dirname "$0")/lib.sh"
need_ebb

start grow "$PROGRAMS/grow" 20000
await grow '^ready' || finish
attached_or_fail peak.attach table leak "${PID[grow]}" -i 100ms --value peak-bytes --max-overhead none || finish
attached_or_fail peak.attach2 folded leak "${PID[grow]}" -i 100ms --value peak-bytes -f folded --max-overhead none || finish
attached_or_fail peak.attach3 held leak "${PID[grow]}" -f folded --max-overhead none || finish
tell grow go
await grow '^done' 60 || finish
bytes=$(awk '/^done/ { print $3 }' "${OUT[grow]}")
tick 0.5	# some snapshots while all of it is held
ask grow free '^freed' || finish
tick 0.3
stop table
is peak.table.status "$STATUS" 0 || show "${ERR[table]}"
stop folded
is peak.folded.status "$STATUS" 0
stop held
is peak.held "$(folded_sum "${OUT[held]}" grow_block)" 0
is peak.folded "$(folded_sum "${OUT[folded]}" grow_block)" "$bytes"
table_last "${OUT[table]}" >"$WORK/last"
says peak.table.head "$WORK/last" 'PEAK: the most that was held in any of [0-9]+ snapshots'
kib=$(awk -v b="$bytes" 'BEGIN { printf "%.0f", b / 1024 }')
says peak.table.row "$WORK/last" " ${kib//./\\.} KiB .*grow_block"
tell grow quit
wait_end grow
finish
