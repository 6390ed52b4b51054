#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# Every way in which a look can end: the target exits, dies or becomes another program, before, while and after
# ebb attaches; and every signal that ends ebb. What was seen is reported, and how it ended is said.
. "$(dirname "$0")/lib.sh"
need_ebb

# --- how the target ends ---
# ending NAME COMMAND REGEX CODE: exit code of the program, as a shell sees it.
ending() {
	local name=ends.$1 cmd=$2 regex=$3 code=$4
	start forks "$PROGRAMS/forks"
	await forks '^ready' || finish
	if attached_or_fail "$name.attach" table leak "${PID[forks]}" -i 10s --max-overhead none &&
		attached_or_fail "$name.attach2" folded leak "${PID[forks]}" -f folded --max-overhead none; then
		ask forks 'keep 10' '^ok keep'
		tell forks "$cmd"
		wait_end forks
		is "$name.program" "$STATUS" "$code"
		wait_end table 20
		is "$name.status" "$STATUS" 0 || show "$WORK/table.err"
		wait_end folded 20
		is "$name.folded.status" "$STATUS" 0 || show "$WORK/folded.err"
		cat "$WORK/table.out" "$WORK/table.err" >"$WORK/table.all"
		says "$name.said" "$WORK/table.all" "$regex"
		says "$name.table" "$WORK/table.out" '^ *CLASS +HELD'
		says "$name.row" "$WORK/table.out" 'parent_keep'
		is "$name.held" "$(folded_sum "$WORK/folded.out" parent_keep)" 1000
	fi
	[ -z "${PID[forks]:-}" ] || stop forks KILL
}
ulimit -c 0
ending exit 'exit 7' '(exited|exit).*\b7\b' 7
ending exit0 'exit 0' '(exited|exit).*\b0\b' 0
ending return return '(exited|exit).*\b0\b' 0
ending abort abort '(SIGABRT|signal 6|Aborted)' 134
ending kill kill '(SIGKILL|signal 9|Killed)' 137
ending segv segv '(SIGSEGV|signal 11|Segmentation)' 139

# --- it becomes another program: the books start anew, and that is said ---
start forks "$PROGRAMS/forks"
await forks '^ready' || finish
if attached_or_fail ends.exec.attach folded leak "${PID[forks]}" -f folded --max-overhead none; then
	ask forks 'keep 10' '^ok keep'
	ask forks exec '^ready'
	check ends.exec.said "exec is not said" until_true 20 has_line "$WORK/folded.err" 'exec' || show "$WORK/folded.err"
	await_err folded '^attached' 30 2
	ask forks 'keep 3' '^ok keep'
	stop folded
	is ends.exec.status "$STATUS" 0 || show "$WORK/folded.err"
	is ends.exec.held "$(folded_sum "$WORK/folded.out" parent_keep)" 300
	check ends.exec.valid "no folded stacks" folded_valid "$WORK/folded.out"
fi
# Again and again, and into something else.
if attached_or_fail ends.execs.attach folded leak "${PID[forks]}" -f folded --max-overhead none; then
	for i in 1 2 3 4 5; do ask forks exec '^ready'; done
	ask forks 'keep 2' '^ok keep'
	check ends.execs.alive "the process died" alive "${PID[forks]}"
	stop folded
	# 130 when the signal comes between two programs, with nothing attached.
	check ends.execs.status "exit code $STATUS" test "$STATUS" = 0 -o "$STATUS" = 130
	stop forks KILL
fi

# --- it ends at any moment while ebb begins ---
# The codes that an end of the target may lead to: done, failed (it was not there any more), lost, not possible.
moment() {
	local name=$1 ms=$2
	shift 2
	start forks "$PROGRAMS/forks" --after "$ms" "$@"
	await forks '^ready' || return
	EBB_SECONDS=20 ebb_run run leak "${PID[forks]}" -f folded -d 2s --max-overhead none
	case $STATUS in
	0 | 1 | 3 | 4) return 0 ;;
	esac
	note "$name after $ms ms: exit code $STATUS"
	show "$WORK/run.err"
	return 1
}
for how in 'exit 3' abort kill exec; do
	bad=0
	for ms in 0 5 10 20 30 50 75 100 150 200 300 400 600; do
		moment "$how" $ms "$how" || bad=$((bad + 1))
		[ "$STATUS" = 0 ] || [ -s "$WORK/run.err" ] || { note "$how after $ms ms: exit code $STATUS and not a word"; bad=$((bad + 1)); }
		[ -z "${PID[forks]:-}" ] || { tell forks return; kill -KILL "${PID[forks]}" 2>/dev/null; wait_end forks; }
	done
	is "ends.moments.${how%% *}" $bad 0
done

# --- how ebb ends ---
start forks "$PROGRAMS/forks"
await forks '^ready' || finish
pid=${PID[forks]}
for signal in INT TERM HUP; do
	if attached_or_fail "ends.$signal.attach" table leak "$pid" -i 10s --max-overhead none; then
		ask forks 'keep 10' '^ok keep'
		stop table $signal
		is "ends.$signal.status" "$STATUS" 0 || show "$WORK/table.err"
		says "ends.$signal.report" "$WORK/table.out" 'parent_keep'
		says "ends.$signal.next" "$WORK/table.out" '^ *next:'
	fi
	if attached_or_fail "ends.$signal.file.attach" folded leak "$pid" -f folded -o "$WORK/$signal.folded" --max-overhead none; then
		ask forks 'keep 10' '^ok keep'
		stop folded $signal
		is "ends.$signal.file" "$(folded_sum "$WORK/$signal.folded" parent_keep)" 1000
	fi
done
# Impatience: the second one may cut the report short, no more.
for pause in 0 0.005 0.05; do
	if attached_or_fail "ends.twice.attach" table leak "$pid" -i 10s --max-overhead none; then
		ask forks 'keep 10' '^ok keep'
		kill -INT "${PID[table]}"
		[ $pause = 0 ] || tick $pause
		stop table INT 15
		check "ends.twice.$pause" "exit code $STATUS" test "$STATUS" = 0 -o "$STATUS" = 130
	fi
done
# A signal while it begins.
bad=0
for ms in 0 10 30 60 100 200 400; do
	start early "$EBB" leak "$pid" -f folded --max-overhead none
	tick "0.$(printf %03d $ms)"
	stop early INT 15
	case $STATUS in 0 | 130) ;; *) note "SIGINT after $ms ms: exit code $STATUS"; bad=$((bad + 1)) ;; esac
done
is ends.early $bad 0
# A temporary file is never left behind, however early it is stopped.
for ms in 0 20 50 100 200; do
	start early "$EBB" leak "$pid" -f folded -o "$WORK/early.folded" --max-overhead none
	tick "0.$(printf %03d $ms)"
	stop early TERM 15
done
is ends.early.files "$(cd "$WORK" && ls -d early.folded.* 2>/dev/null)" ''
# What ebb was started to ignore does not end it.
start nohup env --ignore-signal=HUP "$EBB" leak "$pid" -f folded --max-overhead none
until_true 30 line_or_gone "${PID[nohup]}" "${ERR[nohup]}" '^attached'
kill -HUP "${PID[nohup]}"
ask forks 'keep 10' '^ok keep'
check ends.nohup "SIGHUP ended it" alive "${PID[nohup]}"
stop nohup
is ends.nohup.status "$STATUS" 0
# Nobody reads what it prints: signals still end it, and the probes come off.
mkfifo "$WORK/unread"
start reader sh -c 'exec <"$1"; sleep 5; exec cat >/dev/null' sh "$WORK/unread"
OUTFILE=$WORK/unread start blocked "$EBB" leak "$pid" -i 10ms --max-overhead none
until_true 30 line_or_gone "${PID[blocked]}" "${ERR[blocked]}" '^attached'
tick 3
kill -INT "${PID[blocked]}"
wait_end blocked 20
is ends.blocked "$STATUS" 0
stop reader TERM
# -d ends it by itself, and stdin does not matter.
ebb_run run leak "$pid" -d 500ms -f folded --max-overhead none
is ends.duration.status "$STATUS" 0
check ends.alive "the target died" ask forks 'keep 1' '^ok keep 1$'
stop forks TERM

# A program that calls exec while ebb attaches is never reported under its old name with nothing held: either ebb
# begins after it or it starts anew. And what the first life lost decides the exit code.
start slow sh -c 'sleep 0.$1; exec "$2"' sh 3 "$PROGRAMS/forks"
start attach "$EBB" leak "${PID[slow]}" -f folded --max-overhead none
await slow '^ready'
until_true 30 line_or_gone "${PID[attach]}" "${ERR[attach]}" '^attached.*every allocation'
tick 1
ask slow 'keep 7' '^ok keep'
stop attach
is ends.exec.attaching.status "$STATUS" 0 || show "${ERR[attach]:-$WORK/attach.err}"
is ends.exec.attaching.held "$(folded_sum "$WORK/attach.out" parent_keep)" 700
stop slow TERM
finish
