#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beside: waiting
# Libraries that are loaded while ebb looks bring their probes: an allocator of their own, or the functions that were asked
# for; unloaded they are forgotten, loaded again they are found again, and one that was replaced on disk is another one.
. "$(dirname "$0")/lib.sh"
need_ebb

NOTICED=400	# ms that a library stays quiet after it was loaded; perf events take some grace periods to be put on
cp "$PROGRAMS/plugin-red.so" "$WORK/plug.so" || finish
OWN=$PROGRAMS/plugin-own.so

sum() { awk -v re="$2" '{ n = $NF; sub(/ [0-9]+$/, "") } $0 ~ re { sum += n } END { print sum + 0 }' "$1"; }
# between NAME GOT LOW HIGH: the first block of each use is taken before ebb has noticed, or not.
between() { check "$1" "$2, not $3 to $4" test $(($2 >= $3 && $2 <= $4)) = 1; }

for way in session perf; do
	export EBB_ATTACH=$way
	[ $way != perf ] || NOTICED=1000
	if plugins_watched loaded.$way.own "" "use $OWN 40 $NOTICED"; then
		between loaded.$way.own.held "$(sum "$WORK/leak.out" '_start;.*main;use;plugin_take$')" 20000 20500
		says loaded.$way.own.said "$WORK/leak.err" 'attached to 2 more sites'
	fi
	if plugins_watched loaded.$way.pair "--acquire plugin_take --release plugin_drop --object plug.so" \
			"use $WORK/plug.so 40 $NOTICED" "use $PROGRAMS/plugin-blue.so 7 0" "use $WORK/plug.so 20 $NOTICED" \
			"sh cp '$PROGRAMS/plugin-blue.so' '$WORK/new.so' && mv '$WORK/new.so' '$WORK/plug.so'" \
			"use $WORK/plug.so 30 $NOTICED"; then
		says loaded.$way.pair.waits "$WORK/leak.err" 'plug.so is not loaded yet'
		between loaded.$way.pair.held "$(sum "$WORK/leak.out" ';use;plugin_take$')" 90 93
		is loaded.$way.pair.times "$(grep -c 'attached to . more sites' "$WORK/leak.err")" 3
	fi
	cp "$PROGRAMS/plugin-red.so" "$WORK/red.so" && mv "$WORK/red.so" "$WORK/plug.so"
done
unset EBB_ATTACH
NOTICED=400

# Many times: nothing is left behind in ebb, neither probes nor descriptors.
start plugins "$PROGRAMS/plugins"
await plugins '^ready' || finish
if attached_or_fail loaded.loop.attach leak leak "${PID[plugins]}" --acquire plugin_take --release plugin_drop \
		--object plug.so -f folded --max-overhead none; then
	ask plugins "use $WORK/plug.so 1 $NOTICED" '^used'
	check loaded.loop.first "nothing was attached" grep -q 'more sites' "$WORK/leak.err"
	fds=$(ls "/proc/${PID[leak]}/fd" | wc -l)
	ask plugins "loop $WORK/plug.so $OWN 300" '^looped 300' 60
	ask plugins "use $WORK/plug.so 1 $NOTICED" '^used'
	between loaded.loop.descriptors "$(ls "/proc/${PID[leak]}/fd" | wc -l)" 1 $((fds + 12))
	stop leak
	is loaded.loop.status "$STATUS" 0 || show "$WORK/leak.err"
fi
check loaded.alive "the program died" alive "${PID[plugins]}"
stop plugins TERM

# One that never comes: no harm. A static program cannot tell when one does.
start ledger "$PROGRAMS/allocs-static"
await ledger '^ready' || finish
ebb_run refuse leak "${PID[ledger]}" --acquire a --release b --object plug.so -d 1s
is loaded.static.status "$STATUS" 4
says loaded.static.why "$WORK/refuse.err" 'plug.so is not loaded, and this process has no dynamic linker'
stop ledger TERM
finish
