#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# Twelve times (CYCLES) attached to and detached from a redis under load: no crash, no error reply. Other programs: cycles_many.sh.
. "$(dirname "$0")/lib.sh"
need_ebb
for tool in redis-server redis-benchmark redis-cli; do
	command -v $tool >/dev/null || { skip cycles "$tool is not installed"; finish; }
done

port=$(free_port)
start redis redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$WORK"
await redis 'Ready to accept connections' || finish
pid=${PID[redis]}
cli() { redis-cli -h 127.0.0.1 -p "$port" "$@" | tr -d '\r'; }
info() { cli info all | awk -F: -v k="$1" '$1 == k { print $2 }'; }

run_id=$(info run_id)
start load redis-benchmark -h 127.0.0.1 -p "$port" -t set,get,lpush,rpop,hset -c 20 -d 200 -r 20000 -n 20000 -l -q
moves() { [ "$(info total_commands_processed)" -gt "$1" ]; }
until_true 10 moves 1000 || not_ok cycles.load "there is no load"

ways=('' session multi perf)
cycles=0 bad=0
for ((i = 1; i <= ${CYCLES:-12}; i++)); do
	way=${ways[$((i % 4))]}
	if [ -n "$way" ]; then export EBB_ATTACH=$way; else unset EBB_ATTACH; fi
	# what was allocated: of a short look at GETs nothing may be held at its end
	if ebb "cycle" leak "$pid" -f folded --value alloc-bytes --max-overhead none; then
		before=$(info total_commands_processed)
		until_true 10 moves "$before" || { note "cycle $i: redis stands still"; bad=$((bad + 1)); }
		stop cycle
		[ "$STATUS" = 0 ] || { note "cycle $i (${way:-default}): exit code $STATUS"; show "$WORK/cycle.err"; bad=$((bad + 1)); }
		folded_valid "$WORK/cycle.out" || { note "cycle $i (${way:-default}): no stacks"; bad=$((bad + 1)); }
	else
		note "cycle $i (${way:-default}): not attached"
		[ -z "${PID[cycle]:-}" ] || stop cycle KILL
		bad=$((bad + 1))
	fi
	cycles=$((cycles + 1))
	alive "$pid" || break
done
unset EBB_ATTACH

is cycles.done "$cycles" "${CYCLES:-12}"
is cycles.bad "$bad" 0
check cycles.alive "redis died" alive "$pid"
is cycles.restarted "$(info run_id)" "$run_id"
is cycles.ping "$(cli ping)" PONG
is cycles.errors "$(info total_error_replies)" 0
check cycles.load.alive "redis-benchmark ended" alive "${PID[load]:-0}"
before=$(info total_commands_processed)
check cycles.load.moves "redis stands still after the last detach" until_true 10 moves "$before"
stop load TERM
says_not cycles.load.errors "${OUT[load]:-$WORK/load.out}" 'error|refused|broken|reset'
says_not cycles.load.stderr "$WORK/load.err" 'error|refused|broken|reset'
says_not cycles.log "$WORK/redis.out" 'crashed|BUG REPORT|signal: '
cli shutdown nosave >/dev/null 2>&1
wait_end redis
is cycles.shutdown "$STATUS" 0
finish
