#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# Two hundred processes at once, each with books of its own, exact; Ctrl-C while it attaches.
. "$(dirname "$0")/../lib.sh"
need_ebb
start family "$PROGRAMS/family" 199
await family '^ready' || finish
root=${PID[family]}

start early "$EBB" leak "$root" --tree --max-memory 2G -f folded --max-overhead none
until_true 60 lines_at_least "${PID[early]}" "${ERR[early]}" '^attached' 5
stop early INT 30
is targets200.early "$STATUS" 0 3

start all "$EBB" leak "$root" --tree --max-memory 2G -f folded --max-overhead none
until_true 400 line_or_gone "${PID[all]}" "${ERR[all]}" '^watching'
says targets200.all "${ERR[all]}" '^watching 200 processes'
ask family 'keep 20' '^ok keep' 60 && ask family 'keep 30' '^ok keep' 60
stop all INT 300
is targets200.status "$STATUS" 0 || show "$WORK/all.err"
awk '$1 == "kept" { n[$2] = $3 } END { for (p in n) print p, n[p] }' "${OUT[family]}" | sort >"$WORK/want"
awk '/_keep/ { split($0, part, /[][]/); n[part[2]] += $NF } END { for (p in n) print p, n[p] }' "$WORK/all.out" | sort >"$WORK/got"
is targets200.cnt "$(wc -l <"$WORK/want")" 200
check targets200.kept "held bytes by process differ" cmp -s "$WORK/want" "$WORK/got" || diff "$WORK/want" "$WORK/got" | head >&2
check targets200.alive "the target died" alive "$root"
stop family TERM
finish
