#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 180
# `ebb faults` on a cgroup, on redis that fills up, and on node whose heap grows.
. "$(dirname "$0")/lib.sh"
need_ebb

# A hierarchy in which a cgroup can be made: version 2's, else one of version 1.
group=
while read -r point; do
	mkdir "$point/ebb-faults-$$" 2>/dev/null || continue
	group=$point/ebb-faults-$$
	sh -c 'echo $$ >"$0/cgroup.procs"' "$group" 2>/dev/null && break
	rmdir "$group"
	group=
done < <(awk '$3 == "cgroup2" { print $2 }' /proc/mounts; awk '$3 == "cgroup" && !/cpuset/ { print $2 }' /proc/mounts)
remove_group() { [ -z "$group" ] || until_true 3 rmdir "$group" 2>/dev/null; }
HOOKS+=(remove_group)
inside() { start "$1" sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$PROGRAMS/toucher" "$WORK"; }

cgroups() {
	[ -n "$group" ] || { skip faults_real.cgroup "no cgroup can be made here"; return; }
	ebb_run empty faults --cgroup "$group" -d 1s
	is faults_real.cgroup.empty "$STATUS" 1
	says faults_real.cgroup.empty.says "$WORK/empty.err" 'no process in the cgroup'
	inside one
	inside two
	start other "$PROGRAMS/toucher" "$WORK"
	for h in one two other; do await "$h" '^ready' || return; done
	attached_or_fail faults_real.cgroup.attach ebb faults --cgroup "$group" --top 50 || return
	ask one 'anon 1000' '^did'
	ask two 'heap 1100' '^did'
	ask other 'anon 1200' '^did'
	inside three
	await three '^ready'
	tick 1.5		# it is looked every second for who is new
	ask three 'anon 1300' '^did'
	ask one 'child 1400' '^did child'
	stop ebb
	is faults_real.cgroup.status "$STATUS" 0 || show "$WORK/ebb.err"
	says faults_real.cgroup.one "$WORK/ebb.out" '^ +1,000 touch_anon'
	says faults_real.cgroup.two "$WORK/ebb.out" "malloc heap.* toucher\\[${PID[two]}\\]"
	says faults_real.cgroup.three "$WORK/ebb.out" '^ +1,300 touch_anon'
	says faults_real.cgroup.child "$WORK/ebb.out" '^ *1,4[0-9][0-9] .* toucher\[[0-9]+\] \(ended\)'
	says_not faults_real.cgroup.other "$WORK/ebb.out" "toucher\\[${PID[other]}\\]"
	for h in one two three other; do stop "$h" TERM; done
}

redis() {
	local port pid before after bytes
	command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null ||
		{ skip faults_real.redis "redis is not installed"; return; }
	port=$(free_port)
	start redis redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$WORK"
	await redis 'Ready to accept connections' || { not_ok faults_real.redis "it did not start"; return; }
	pid=${PID[redis]}
	attached_or_fail faults_real.redis.attach ebb faults "$pid" -f folded --value bytes -o "$WORK/redis.folded" || return
	before=$(awk '/^RssAnon/ { print $2 * 1024 }' "/proc/$pid/status")
	redis-benchmark -h 127.0.0.1 -p "$port" -t set -n 60000 -r 1000000 -d 1000 -P 8 -q >"$WORK/bench.out" 2>&1
	after=$(awk '/^RssAnon/ { print $2 * 1024 }' "/proc/$pid/status")
	stop ebb
	is faults_real.redis.status "$STATUS" 0 || show "$WORK/ebb.err"
	bytes=$(folded_match "$WORK/redis.folded" '_anonymous|_heap|_arenas')
	note "redis: RssAnon grew by $((after - before)), touched $bytes"
	# gross is not less than net, and not far from it while it only grows
	check faults_real.redis.bytes "touched $bytes, grew by $((after - before))" \
		awk -v b="$bytes" -v n=$((after - before)) 'BEGIN { exit !(n > 30e6 && b > 0.9 * n && b < 1.5 * n) }'
	check faults_real.redis.stacks "few stacks begin at the thread's first function" \
		test $(($(folded_match "$WORK/redis.folded" '^redis-server;(_start|clone3?|libc.so.6)') * 100)) -ge $((bytes * 95))
	says faults_real.redis.path "$WORK/redis.folded" ';main;.*(setGenericCommand|setCommand|processCommand|createStringObject|readQueryFromClient|aeMain|je_)'
	stop redis TERM
}

node() {
	local bytes managed
	command -v node >/dev/null || { skip faults_real.node "node is not installed"; return; }
	start node node -e 'const kept = []; console.log("ready"); process.stdin.on("data", () => {
		for (let i = 0; i < 400000; i++) kept.push({ i, name: "n" + i, list: [i] }); console.log("grown"); });'
	await node '^ready' || return
	attached_or_fail faults_real.node.attach ebb faults "${PID[node]}" -f folded --value bytes -o "$WORK/node.folded" || return
	ask node x '^grown' 60
	stop ebb
	is faults_real.node.status "$STATUS" 0 || show "$WORK/ebb.err"
	bytes=$(folded_total "$WORK/node.folded")
	managed=$(folded_match "$WORK/node.folded" 'managed')
	note "node: touched $bytes, of it managed $managed"
	check faults_real.node.managed "of $bytes bytes only $managed are in the managed heap" test $((managed * 2)) -gt "$bytes"
	check faults_real.node.grown "a heap of 400,000 objects in $managed bytes" test "$managed" -gt 20000000
	stop node TERM
}

cgroups
redis
node
finish
