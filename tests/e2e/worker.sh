#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# What parses the target's files has no privileges, parses all of them, and ends with ebb however that ends.
. "$(dirname "$0")/lib.sh"
need_ebb

# The child of an ebb that has no privileges; empty when there is none.
worker_of() {
	local child
	for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/$child/status" 2>/dev/null && echo "$child"
	done
}
field() { awk -v key="$2:" '$1 == key { sub(/^[^\t]*\t/, ""); print; exit }' "/proc/$1/status" 2>/dev/null; }
limit() { awk -v key="$2" 'index($0, key) == 1 { $0 = substr($0, length(key) + 1); print $1; exit }' "/proc/$1/limits" 2>/dev/null; }

# unprivileged NAME PID: everything that a sandbox takes away is gone.
unprivileged() {
	local name=$1 pid=$2 cap
	is "$name.uid" "$(field "$pid" Uid)" $'65534\t65534\t65534\t65534'
	is "$name.gid" "$(field "$pid" Gid)" $'65534\t65534\t65534\t65534'
	is "$name.groups" "$(field "$pid" Groups | tr -d ' ')" ''
	for cap in CapInh CapPrm CapEff CapBnd CapAmb; do
		is "$name.$cap" "$(field "$pid" $cap)" 0000000000000000
	done
	is "$name.no-new-privs" "$(field "$pid" NoNewPrivs)" 1
	is "$name.seccomp" "$(field "$pid" Seccomp)" 2
	is "$name.core" "$(limit "$pid" 'Max core file size')" 0
	is "$name.file-size" "$(limit "$pid" 'Max file size')" 0
	check "$name.memory" "there is no limit" test "$(limit "$pid" 'Max data size')" -lt $((1 << 30))
	# its socket, /dev/null twice, and at most one file that it is reading
	check "$name.descriptors" "it has $(ls "/proc/$pid/fd" | wc -l)" test "$(ls "/proc/$pid/fd" | wc -l)" -le 4
	check "$name.shares" "it shares memory with ebb: $(awk '$2 ~ /s/ && $6 == ""' "/proc/$pid/maps" | head -n 1)" \
		eval '! awk "\$2 ~ /s/" "/proc/$pid/maps" | grep -q "bpf\|anon_inode\|ebb"'
}

# --- the same cases as the unit test, built as the product is ---
"$PROGRAMS/worker" >"$WORK/unit.out" 2>"$WORK/unit.err"
is unit.status $? 0 || show "$WORK/unit.err"
sed 's/^ok /ok unit./; s/^not ok /not ok unit./; s/^skip /skip unit./' "$WORK/unit.out"

start server "$PROGRAMS/server" --wait
await server '^ready' || finish

# --- it has nothing, and goes with ebb ---
for command in leak ports; do
	arguments=("$command")
	wanted=2	# ports has one for names and one for rows
	[ "$command" = leak ] && wanted=1
	[ "$command" = leak ] && arguments+=("${PID[server]}" --max-overhead none)
	for signal in INT KILL; do
		attached_or_fail "$command.$signal.attach" ebb1 "${arguments[@]}" || continue
		workers=$(worker_of "${PID[ebb1]}")
		is "$command.$signal.cnt" "$(wc -w <<<"$workers")" "$wanted"
		[ "$signal" = INT ] && for worker in $workers; do unprivileged "$command" "$worker"; done
		stop ebb1 "$signal"
		for worker in $workers; do
			check "$command.$signal.gone" "the worker is still there" until_true 10 gone "$worker"
		done
	done
done

# --- a Ctrl-C of the terminal is for ebb alone, and a worker that is killed is made again ---
if attached_or_fail killed.attach ebb1 leak "${PID[server]}" -f folded --max-overhead none; then
	worker=$(worker_of "${PID[ebb1]}")
	kill -INT "$worker"
	kill -HUP "$worker"
	tick 0.2
	check signals.ignored "it ended" alive "$worker"
	kill -KILL "$worker"
	tell server go
	await server '^serving' && tick 3
	stop ebb1
	is killed.status "$STATUS" 0 || show "$WORK/ebb1.err"
	check killed.names "nothing has a name" grep -q 'worker_main;serve_requests' "$WORK/ebb1.out"
	check killed.gone "it is still there" until_true 10 gone "$worker"
fi

# --- ebb itself reads none of the target's files: what parses them has them mapped, ebb has not ---
maps_of() { cut -d ' ' -f 6- "/proc/$1/maps" | sed 's/^ *//'; }
if attached_or_fail guard.attach ebb1 leak "${PID[server]}" -v --max-overhead none; then
	tick 3
	worker=$(worker_of "${PID[ebb1]}")
	says_not guard.refused "${ERR[ebb1]}" 'would have been parsed with privileges'
	check guard.worker "the worker has no file of the target mapped: the test proves nothing" \
		eval 'maps_of "$worker" | grep -q /libsession.so'
	check guard.ebb "ebb has mapped $(maps_of "${PID[ebb1]}" | grep -m 1 "$PROGRAMS")" \
		eval '! maps_of "${PID[ebb1]}" | grep -q "^$PROGRAMS/"'
	stop ebb1
	is guard.status "$STATUS" 0
fi

# --- it dies of a file: ebb says of which, and goes on ---
# Stopped until ebb waits for it, and then ended by the signal of a crash.
if attached_or_fail crash.attach ebb1 leak "${PID[server]}" -f folded -d 12s --max-overhead none; then
	worker=$(worker_of "${PID[ebb1]}")
	kill -STOP "$worker"
	tell server go
	await server '^serving'
	tick 3
	kill -SEGV "$worker"
	kill -CONT "$worker"
	wait_end ebb1
	is crash.status "$STATUS" 0
	says crash.said "$WORK/ebb1.err" 'reading [a-z ]+ of .*/(server|lib[a-z]+\.so[.0-9]*) failed: the parser crashed \(SIGSEGV\)'
	is crash.said.once "$(lines_cnt "$WORK/ebb1.err" 'the parser crashed')" 1
	# the other files still have names
	check crash.names "nothing has a name" grep -Eq 'session_new|worker_main|start_thread|clone' "$WORK/ebb1.out" ||
		show "$WORK/ebb1.out"
	check crash.gone "it is still there" until_true 10 gone "$worker"
fi
stop server KILL
finish
