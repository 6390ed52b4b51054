#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# ebb does not harm what it watches: the code of the process is what it was after every way in which ebb can
# end, children are neither counted nor disturbed, exceptions are caught, two ebbs get along.
. "$(dirname "$0")/lib.sh"
need_ebb

code() { code_of "${PID[$1]}" "$1"; }
code_is() { [ "$(code "$1")" = "$2" ]; }

for way in session multi perf; do
	export EBB_ATTACH=$way
	start forks "$PROGRAMS/forks"
	await forks '^ready' || finish
	clean=$(code forks)
	check "harm.$way.code" "the process's code cannot be read" test "${#clean}" -gt 700 || finish

	# --- what is put there goes away, whatever happens to ebb ---
	for signal in KILL INT SEGV; do
		if attached_or_fail "harm.$way.$signal.attach" ebb1 leak "${PID[forks]}" -f folded --max-overhead none; then
			ask forks 'keep 10' '^ok keep'
			check "harm.$way.$signal.during" "no byte has changed: the test sees no probes" \
				eval '! code_is forks "$clean"'
			stop ebb1 $signal
			check "harm.$way.$signal.after" "breakpoints are left in the process" until_true 10 code_is forks "$clean" ||
				{ diff <(echo "$clean") <(code forks) >&2; }
			check "harm.$way.$signal.runs" "the process does not go on" ask forks 'churn 50' '^ok churn'
		fi
	done
	# While it allocates as fast as it can.
	if attached_or_fail "harm.$way.busy.attach" ebb1 leak "${PID[forks]}" -f folded --max-overhead none; then
		tell forks 'churn 1000'
		tick 0.3
		stop ebb1 KILL
		check "harm.$way.busy.runs" "the process does not go on" await forks '^ok churn 1000'
		check "harm.$way.busy.after" "breakpoints are left in the process" until_true 10 code_is forks "$clean"
	fi

	# --- children ---
	if attached_or_fail "harm.$way.fork.attach" ebb1 leak "${PID[forks]}" -f folded --value alloc-blocks --max-overhead none; then
		ask forks 'keep 7' '^ok keep'
		check "harm.$way.fork.runs" "a child failed" ask forks 'fork 1000' '^ok fork'
		check "harm.$way.vfork.runs" "a child failed" ask forks vfork '^ok vfork'
		check "harm.$way.spawn.runs" "a child failed" ask forks spawn '^ok spawn'
		check "harm.$way.stay.runs" "a child failed" ask forks 'stay 1000' '^child'
		child=$(awk '/^child/ { print $2 }' "${OUT[forks]}")
		ask forks 'keep 5' '^ok keep'
		check "harm.$way.reap.runs" "a child failed" ask forks reap '^ok reap'
		stop ebb1
		is "harm.$way.fork.status" "$STATUS" 0 || show "$WORK/ebb1.err"
		is "harm.$way.fork.child" "$(folded_match "$WORK/ebb1.out" 'child_')" 0
		is "harm.$way.fork.parent" "$(folded_sum "$WORK/ebb1.out" parent_keep)" 12
		check "harm.$way.fork.other" "stacks of another process" \
			awk '!/^forks;/ { bad = 1 } END { exit bad }' "$WORK/ebb1.out"
	fi
	# A child that was there before: it is not the process that is watched.
	ask forks 'stay 10' '^child' && {
		child=$(awk '/^child/ { pid = $2 } END { print pid }' "${OUT[forks]}")
		if attached_or_fail "harm.$way.child.attach" ebb1 leak "$child" -f folded --max-overhead none; then
			ask forks 'keep 5' '^ok keep'
			stop ebb1
			is "harm.$way.child.status" "$STATUS" 0 || show "$WORK/ebb1.err"
			is "harm.$way.child.parent" "$(folded_total "$WORK/ebb1.out")" 0
		fi
		ask forks reap '^ok reap'
	}

	# --- two at once, each with its own beginning ---
	if attached_or_fail "harm.$way.two.attach" ebb1 leak "${PID[forks]}" -f folded --max-overhead none; then
		ask forks 'keep 10' '^ok keep'
		if attached_or_fail "harm.$way.two.attach2" ebb2 leak "${PID[forks]}" -f folded --max-overhead none; then
			ask forks 'keep 20' '^ok keep'
			stop ebb1
			is "harm.$way.two.status1" "$STATUS" 0 || show "$WORK/ebb1.err"
			is "harm.$way.two.first" "$(folded_sum "$WORK/ebb1.out" parent_keep)" 3000
			ask forks 'keep 40' '^ok keep'
			stop ebb2
			is "harm.$way.two.status2" "$STATUS" 0 || show "$WORK/ebb2.err"
			is "harm.$way.two.second" "$(folded_sum "$WORK/ebb2.out" parent_keep)" 6000
		fi
	fi
	check "harm.$way.two.after" "breakpoints are left in the process" until_true 10 code_is forks "$clean"
	# The first one killed: the second goes on.
	if ebb ebb1 leak "${PID[forks]}" -f folded --max-overhead none &&
			ebb ebb2 leak "${PID[forks]}" -f folded --max-overhead none; then
		stop ebb1 KILL
		ask forks 'keep 30' '^ok keep'
		stop ebb2
		is "harm.$way.survivor" "$(folded_sum "$WORK/ebb2.out" parent_keep)" 3000
	else
		not_ok "harm.$way.survivor" "two did not attach"
	fi
	tell forks 'exit 0'
	wait_end forks
	is "harm.$way.exit" "$STATUS" 0

	# --- exceptions go through the C++ library's operator new while malloc under it is probed ---
	if [ -x "$PROGRAMS/newthrow" ]; then
		start throw "$PROGRAMS/newthrow"
		await throw '^ready' || finish
		if attached_or_fail "harm.$way.throw.attach" ebb1 leak "${PID[throw]}" -f folded --max-overhead none; then
			check "harm.$way.throw.caught" "a bad_alloc was not caught" ask throw 'throw 1000' '^caught 1000$'
			ask throw keep '^ok keep'
			stop ebb1
			is "harm.$way.throw.status" "$STATUS" 0 || show "$WORK/ebb1.err"
			is "harm.$way.throw.held" "$(folded_match "$WORK/ebb1.out" ';hold_new')" 5200
			check "harm.$way.throw.new" "operator new is not named" grep -q 'operator_new' "$WORK/ebb1.out"
		fi
		check "harm.$way.throw.after" "a bad_alloc was not caught" ask throw 'throw 100' '^caught 100$'
		tell throw quit
		wait_end throw
		is "harm.$way.throw.exit" "$STATUS" 0
	else
		skip "harm.$way.throw" "there is no C++ compiler"
	fi
	unset EBB_ATTACH
done

# The brake: on by default, and it takes the probes away.
start busy "$PROGRAMS/forks"
await busy '^ready' || finish
clean=$(code busy)
if attached_or_fail harm.brake.attach brake leak "${PID[busy]}" -i 1s --max-overhead 1; then
	tell busy 'churn 20000'
	wait_end brake
	is harm.brake.status "$STATUS" 4
	cat "$WORK/brake.out" "$WORK/brake.err" >"$WORK/brake"
	says harm.brake.said "$WORK/brake" 'brake'
	says harm.brake.report "$WORK/brake.out" '^ *CLASS '
	says harm.brake.next "$WORK/brake.out" '^ *next:'
	check harm.brake.after "breakpoints are left in the process" until_true 10 code_is busy "$clean"
fi
if attached_or_fail harm.brake.folded.attach brake leak "${PID[busy]}" -f folded; then
	await busy '^ok churn' 60
	tell busy 'churn 20000'
	wait_end brake
	is harm.brake.default.status "$STATUS" 4
	says harm.brake.default.said "$WORK/brake.err" 'brake'
fi
check harm.brake.alive "the process died" alive "${PID[busy]}"
stop busy TERM
finish
