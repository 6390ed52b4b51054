#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# What must be given back beside memory: pools, handles, threads, descriptors … each with a known answer, with each way of
# attaching; functions that throw, switch stacks or are entered again by a signal stay unharmed; bad names are refused.
. "$(dirname "$0")/lib.sh"
need_ebb

# look NAME SITE WANT COMMAND OPTION…: what ebb holds after the command is WANT in stacks with SITE.
look() {
	local name=pairs.$1 site=$2 want=$3 command=$4
	shift 4
	if attached_or_fail "$name.attach" ebb leak "${PID[pairs]}" "$@" -f folded --max-overhead none; then
		check "$name.runs" "the program did not do $command" ask pairs "$command" "^ok $command\$"
		stop ebb
		is "$name.status" "$STATUS" 0 || show "$WORK/ebb.err"
		is "$name.held" "$(folded_sum "$WORK/ebb.out" "$site")" "$want"
	fi
}

start pairs "$PROGRAMS/pairs"
await pairs '^ready' || finish
POOL="--acquire pool_get:2 --acquire pool_get_deep:2 --release pool_put:2"
for way in session multi perf; do
	export EBB_ATTACH=$way
	look $way.pool site_pool 28800 'pool 600' $POOL
	look $way.throw site_throw 0 'throw 300' $POOL
	look $way.after site_pool 4800 'pool 100' $POOL
	look $way.signals site_signals 0 'signals 200' $POOL
	look $way.fibers fiber_main 300 'fibers 300' --acquire fiber_get --release fiber_put
	unset EBB_ATTACH
done
look handles site_handle 75 'handles 100' --acquire handle_open --release handle_close
look threads site_thread 20 'threads 20' --pairs threads
look watches site_watch 150 'watches 300' --pairs inotify
look fds site_fds 350 'fds 100' --pairs fds
look mutexes site_mutex 150 'mutexes 300' --pairs mutex
# Several at once: each a domain of its own, and the probed function is the innermost frame.
look both.mutexes site_mutex 50 'mutexes 100' --pairs threads,mutex --acquire handle_open --release handle_close
look both.handles handle_open 75 'handles 100' --acquire pool_get --release pool_put:2 --acquire handle_open --release handle_close

# Addresses: readelf says where; a table says what it counts.
va=$(readelf -Ws "$PROGRAMS/pairs" | awk '$8 == "handle_open" { print "0x" $2; exit }')
look va site_handle 75 'handles 100' --acquire "$va" --release handle_close --object pairs
if attached_or_fail pairs.table.attach ebb leak "${PID[pairs]}" --pairs mutex --max-overhead none; then
	ask pairs 'mutexes 100' '^ok mutexes'
	stop ebb
	says pairs.table.unit "$WORK/ebb.out" 'in mutexes; only what was acquired since'
	says pairs.table.row "$WORK/ebb.out" ' 50 +[+]?[0-9]+ .*site_mutex.* via pthread_mutex_init'
	says_not pairs.table.rss "$WORK/ebb.out" 'RSS|MiB held'
	says pairs.table.next "$WORK/ebb.out" '^ *next:'
fi

# refused NAME STATUS REGEX OPTION…: and nothing is attached.
refused() {
	local name=pairs.$1 status=$2 regex=$3
	shift 3
	ebb_run refuse leak "${PID[pairs]}" "$@" -d 1s
	is "$name.status" "$STATUS" "$status"
	says "$name.why" "$WORK/refuse.err" "$regex"
}
refused absent 4 'has a function nope' --acquire nope --release pool_put
refused ambiguous 4 'tsearch is 2 functions: tsearch at 0x.* of pairs, tsearch at 0x.* of libc' --acquire tsearch --release pool_put
refused ifunc 4 'IFUNC' --acquire chosen_get --release pool_put
refused unseen 4 'unseen_get of pairs: not probed.*jumps through a variable' --acquire unseen_get --release pool_put
refused middle 4 'is not where a function of pairs begins' --acquire "$(printf '0x%x' $((va + 1)))" --release pool_put
plt=$(objdump -d -j .plt.sec -j .plt "$PROGRAMS/pairs" 2>/dev/null | awk '/<malloc@plt>:/ { print "0x" $1; exit }')
refused plt 4 'PLT' --acquire "$plt" --release pool_put
refused outside 4 'not in the code of pairs' --acquire 0x123456789 --release pool_put
refused object 2 'needs them' --pairs fds --object libnope.so
refused escapes 4 'no.*\\x1b\[31m' --acquire $'no\e[31m' --release pool_put
refused no-release 2 'has no --release' --acquire pool_get
refused no-acquire 2 'behind the --acquire' --release pool_put
refused argument 2 'from 1 to 5' --acquire pool_get:0 --release pool_put
refused unknown 2 'there are threads' --pairs sockets
refused mixed 2 'with a size and pairs without' $POOL --pairs fds
check pairs.alive "the program died" alive "${PID[pairs]}"
tell pairs quit
wait_end pairs
is pairs.program "$STATUS" 0
finish
