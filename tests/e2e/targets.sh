#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beside: waiting
# Several processes at once: each with books of its own, exact, also those that are born, execute themselves again or end
# while ebb looks; by process and merged.
. "$(dirname "$0")/lib.sh"
need_ebb

# kept_equal NAME FOLDED PID…: by process, held bytes are what the last `kept` line of each says; of the others there is none.
kept_equal() {
	local name=$1 file=$2 pid want got bad=
	shift 2
	for pid; do
		want=$(awk -v pid="$pid" '$1 == "kept" && $2 == pid { n = $3 } END { print n + 0 }' "${OUT[family]}")
		got=$(folded_match "$file" "^family\\[$pid\\];.*_keep")
		[ "$want" -gt 0 ] && [ "$got" = "$want" ] || bad+=" $pid: $got, not $want;"
	done
	check "$name" "held bytes:$bad" test -z "$bad" || show "$file"
}
watches() { until_true "${3:-30}" grep -q "^attached to .* process $2 by" "${ERR[$1]}"; }
attached_times() { [ "$(grep -c "^attached to .* process $2 by" "${ERR[$1]}")" = "$3" ]; }
last_born() { awk '$1 == "born" { pid = $2 } END { print pid }' "${OUT[family]}"; }

# --- A list of processes ---
start ledger1 "$PROGRAMS/ledger" 200000
start ledger2 "$PROGRAMS/ledger" 300000
await ledger1 '^ready' && await ledger2 '^ready' || finish
if attached_or_fail targets.two.attach two leak -p "${PID[ledger1]}" -p "${PID[ledger2]}" "${PID[ledger1]}" -f folded --max-overhead none &&
		attached_or_fail targets.one.attach one leak "${PID[ledger1]}" "${PID[ledger2]}" --merge -f folded --max-overhead none; then
	until_true 30 grep -q '^watching' "${ERR[two]}" && until_true 30 grep -q '^watching' "${ERR[one]}"
	tell ledger1 go
	tell ledger2 go
	await ledger1 '^end' 100 && await ledger2 '^end' 100 || not_ok targets.two.ledger "a ledger did not finish"
	stop two
	is targets.two.status "$STATUS" 0 || show "$WORK/two.err"
	stop one
	is targets.one.status "$STATUS" 0 || show "$WORK/one.err"
	is targets.two.cnt "$(grep -c '^attached' "$WORK/two.err")" 2
	for i in 1 2; do
		grep "^ledger\[${PID[ledger$i]}\];" "$WORK/two.out" >"$WORK/two.$i"
		check "targets.two.bytes$i" "held bytes by site differ from ledger $i" sites_equal "$WORK/two.$i" "${OUT[ledger$i]}" 2 '^site_'
	done
	awk '$1 ~ /^site_/ { b[$1] += $2; n[$1] += $3 } END { for (s in b) print s, b[s], n[s] }' "${OUT[ledger1]}" "${OUT[ledger2]}" >"$WORK/both"
	check targets.merged.bytes "held bytes by site differ from both ledgers" sites_equal "$WORK/one.out" "$WORK/both" 2 '^site_'
	check targets.merged.root "not one root" test "$(cut -d';' -f1 "$WORK/one.out" | sort -u)" = ledger
fi
for i in 1 2; do
	tell "ledger$i" quit
	wait_end "ledger$i"
	is "targets.two.program$i" "$STATUS" 0
done

# --- A tree ---
start family "$PROGRAMS/family" 2
await family '^ready' || finish
root=${PID[family]}
mapfile -t born < <(awk '$1 == "born" { print $2 }' "${OUT[family]}")
ask family 'grandchild 0' '^ok grandchild'
if attached_or_fail targets.tree.attach tree leak "$root" --tree -f folded --max-overhead none; then
	until_true 30 grep -q '^watching 3 processes' "${ERR[tree]}" || not_ok targets.tree.three "it does not watch three processes"
	ask family born '^ok born'
	third=$(last_born)
	check targets.tree.born "a child that was born later is not watched" watches tree "$third"
	ask family "grandchild $third" '^ok grandchild'
	fourth=$(last_born)
	check targets.tree.grandchild "a grandchild is not watched" watches tree "$fourth"
	ask family 'keep 10' '^ok keep' && ask family 'keep 7' '^ok keep'
	ask family "die ${born[1]}" '^ok die'
	check targets.tree.died "the end of a child is not seen" until_true 10 grep -q "process ${born[1]} exited with code 7" "${ERR[tree]}"
	stop tree
	is targets.tree.status "$STATUS" 0 || show "$WORK/tree.err"
	kept_equal targets.tree.kept "$WORK/tree.out" "$root" "${born[0]}" "$third" "$fourth"
	is targets.tree.ended "$(folded_match "$WORK/tree.out" "^family\\[${born[1]}\\];")" 0
fi

# --- exec: another program, with books of its own; and what people see ---
if attached_or_fail targets.exec.attach again leak "$root" --tree -i 200ms --max-overhead none --no-color; then
	until_true 30 grep -q '^watching 4 processes' "${ERR[again]}" || not_ok targets.exec.four "it does not watch four processes"
	ask family 'keep 1000' '^ok keep'
	ask family "again ${born[0]}" '^ok again'
	check targets.exec.again "the new program is not watched" until_true 30 attached_times again "${born[0]}" 2
	ask family 'keep 500' '^ok keep'
	until_true 20 grep -q '^leak  5 processes.*' "${OUT[again]}"
	stop again
	is targets.exec.status "$STATUS" 0 || show "$WORK/again.err"
	final=$(awk '/^leak  [0-9]+ processes/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$WORK/again.out")
	printf '%s' "$final" >"$WORK/final"
	says targets.exec.head "$WORK/final" '^leak  5 processes · .* lost 0$'
	says targets.exec.ended "$WORK/final" '1 ended'
	says targets.exec.line "$WORK/final" "family\[${born[0]}\] exec .* child_keep"
	says targets.exec.line2 "$WORK/final" "family\[$root\] .* root_keep"
	says targets.exec.report "$WORK/final" "^leak  family\[$third\] .*family · "
	says targets.exec.over "$WORK/final" "process ${born[0]} called exec"
	is targets.exec.next "$(grep -c '^next:' "$WORK/final")" 0
fi

# --- exec of who is named: an entry point that becomes its server, and two at once ---
start entry sh -c 'read go; exec "$0" 1' "$PROGRAMS/family"
if attached_or_fail targets.entry.attach entered leak "${PID[entry]}" --tree -f folded --max-overhead none; then
	until_true 20 grep -q '^watching' "${ERR[entered]}"
	tell entry go
	await entry '^ready' || finish
	check targets.entry.root "the program that the script has become is not watched" until_true 30 attached_times entered "${PID[entry]}" 2
	check targets.entry.child "its child is not watched" watches entered "$(awk '$1 == "born" { print $2 }' "${OUT[entry]}")"
	ask entry 'keep 6' '^ok keep'
	stop entered
	is targets.entry.status "$STATUS" 0 || show "$WORK/entered.err"
	is targets.entry.kept "$(folded_match "$WORK/entered.out" "^family\\[${PID[entry]}\\];.*root_keep")" 600
fi
stop entry TERM
start fork1 "$PROGRAMS/forks"
start fork2 "$PROGRAMS/forks"
await fork1 '^ready' && await fork2 '^ready' || finish
if attached_or_fail targets.both.attach both leak "${PID[fork1]}" "${PID[fork2]}" -f folded --max-overhead none; then
	until_true 20 grep -q '^watching' "${ERR[both]}"
	tell fork1 exec
	tell fork2 exec
	for h in fork1 fork2; do
		await "$h" '^ready' 20 2
		check "targets.both.$h" "it is not attached to again" until_true 30 attached_times both "${PID[$h]}" 2
		ask "$h" 'keep 3' '^ok keep'
	done
	stop both
	is targets.both.status "$STATUS" 0 || show "$WORK/both.err"
	for h in fork1 fork2; do is "targets.both.$h.kept" "$(folded_match "$WORK/both.out" "^[^;[]*\\[${PID[$h]}\\];.*parent_keep")" 300; done
fi
stop fork1 TERM
stop fork2 TERM

# --- Merged by executable ---
if attached_or_fail targets.merge.attach merge leak "$root" --tree --merge -i 200ms --max-overhead none --no-color; then
	until_true 30 grep -q '^watching 4 processes' "${ERR[merge]}" || not_ok targets.merge.four "it does not watch four processes"
	ask family 'keep 100' '^ok keep'
	until_true 20 grep -q 'child_keep' "${OUT[merge]}"
	stop merge
	is targets.merge.status "$STATUS" 0 || show "$WORK/merge.err"
	awk '/^leak  [0-9]+ processes/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$WORK/merge.out" >"$WORK/final"
	says targets.merge.head "$WORK/final" '^leak  4 processes, merged by executable'
	says targets.merge.line "$WORK/final" 'family ×4 .* child_keep'
	says targets.merge.report "$WORK/final" '^leak  family ×4 .*family · '
	is targets.merge.one "$(grep -c '^leak  family' "$WORK/final")" 1
	says targets.merge.stacks "$WORK/final" 'child_keep family.c:[0-9]+'
fi
stop family TERM

# --- More than the memory allows ---
start many "$PROGRAMS/family" 12
await many '^ready' || finish
if attached_or_fail targets.many.attach few leak "${PID[many]}" --tree --max-memory 30M -f folded --max-overhead none; then
	until_true 60 grep -q '^watching' "${ERR[few]}"
	ask many 'keep 10' '^ok keep'
	stop few
	is targets.many.status "$STATUS" 3
	says targets.many.why "$WORK/few.err" '[0-9]+ processes were not watched: their books do not fit into --max-memory; about [0-9]+ MiB would hold all'
	watched=$(grep -c '^attached' "$WORK/few.err")
	check targets.many.some "$watched of 13 are watched" test "$watched" -ge 2 -a "$watched" -le 4
	is targets.many.rest "$(sed -n 's/.*: \([0-9]*\) processes were not watched.*/\1/p' "$WORK/few.err")" $((13 - watched))
fi
stop many TERM

# --- What cannot be ---
ebb_run both leak 1 --cgroup /x
is targets.bad.both "$STATUS" 2
ebb_run groups leak --cgroup /x --unit y
is targets.bad.groups "$STATUS" 2
ebb_run none leak --tree
is targets.bad.none "$STATUS" 2
says targets.bad.none.why "$WORK/none.err" 'which process'
start lone "$PROGRAMS/family"
await lone '^ready' || finish
ebb_run missing leak -p "${PID[lone]}" -p 4194000 -d 1s
is targets.bad.missing "$STATUS" 1
says targets.bad.missing.why "$WORK/missing.err" 'no process 4194000'
says_not targets.bad.missing.first "$WORK/missing.err" '^attached'
ebb_run mixed leak -p "${PID[lone]}" -p 2 -d 1s
is targets.bad.thread "$STATUS" 4 1
start script sh -c 'while read -r line; do :; done'
start interrupted sh -c 'timeout --preserve-status -s INT 0.3 "$0" leak "$@" -f folded; echo "status $?"' "$EBB" "${PID[lone]}" "${PID[script]}"
wait_end interrupted 30
says targets.bad.interrupted "$WORK/interrupted.out" '^status [03]$'
says_not targets.bad.interrupted.why "$WORK/interrupted.err" 'there is no process in'
stop script TERM
ebb_run dry leak "${PID[lone]}" --tree --dry-run
is targets.bad.dry "$STATUS" 0
says targets.bad.dry.sites "$WORK/dry.out" 'malloc'
stop lone TERM
finish
