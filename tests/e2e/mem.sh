#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# ebb mem on a program that makes each part of its memory grow by known numbers of pages, and on what is no good process.
. "$(dirname "$0")/lib.sh"
need_ebb
command -v python3 >/dev/null || { skip mem "needs python3"; finish; }

# value FILE EXPRESSION: of a JSON report: d is all of it, part(NAME) one part, kind(NAME) one kind of descriptors.
value() {
	python3 - "$1" "$2" <<-'PY'
	import json, sys
	d = json.load(open(sys.argv[1]))
	part = lambda name: [p for p in d['parts'] if p['name'] == name][0]
	kind = lambda name: sum(k['count'] for k in d['descriptors']['kinds'] if k['name'] == name)
	print(eval(sys.argv[2]))
	PY
}
# look NAME PID…: one look into $WORK/NAME.json.
look() {
	"$EBB" mem "${@:2}" -f json -o "$WORK/$1.json" 2>"$WORK/$1.err" && return
	not_ok "mem.$1" "it ended with $?"
	show "$WORK/$1.err"
	return 1
}
# What is true of every look.
sums="all(sum(p[k] for p in d['parts']) == d['total'][k] for k in
	('rss_bytes', 'pss_bytes', 'own_bytes', 'swap_bytes', 'huge_bytes', 'hugetlb_bytes', 'mappings'))"
between() { if [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; then ok "$1"; else not_ok "$1" "got $2, want $3 to $4"; fi; }

start parts "$PROGRAMS/parts" "$WORK/"$'fi\nle\e[31m'
await parts '^ready' || finish
pid=${PID[parts]}
ask parts 'arena 1' '^ok' && ask parts 'stack 1' '^ok'

# --- each part by itself: the pages and what the allocator and the thread need for themselves ---
# deltas PART: pages that this part grew by, and the part that grew most beside it.
deltas() {
	python3 - "$WORK" "$1" <<-'PY'
	import json, sys
	b, a = (json.load(open(f'{sys.argv[1]}/{n}.json')) for n in ('before', 'after'))
	by = {y['name']: (y['rss_bytes'] - x['rss_bytes']) // 4096 for x, y in zip(b['parts'], a['parts'])}
	sums = all(sum(p[k] for p in d['parts']) == d['total'][k] for d in (a, b) for k in ('rss_bytes', 'pss_bytes', 'own_bytes'))
	print(by.pop(sys.argv[2]), max(by.values()), sums)
	PY
}
# grow PART COMMAND PAGES [SLACK]
look after "$pid"
grow() {
	local by others sums
	mv "$WORK/after.json" "$WORK/before.json"
	ask parts "$2 $3" '^ok' && look after "$pid" || return
	read -r by others sums < <(deltas "$1")
	between "mem.$2" "$by" "$3" $(($3 + ${4:-4}))
	check "mem.$2.alone" "another part grew by $others pages" [ "$others" -le $(($3 / 10 + 2)) ]
	is "mem.$2.sums" "$sums" True
}
grow heap heap 1000
grow arenas arena 1000
grow anonymous anon 500
grow stacks stack 300 8
grow shared shared 400
grow shared memfd 300
grow data data 256
grow jit code 100
grow files file 200

if grep -q '\[\(always\|madvise\)\]' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null; then
	grow anonymous huge 2048
	# the kernel may be short of huge pages: as many as it says itself
	is mem.huge.pages "$(value "$WORK/after.json" "part('anonymous')['huge_bytes']")" "$(awk '/^AnonHugePages/ { n += $2 } END { print n * 1024 }' "/proc/$pid/smaps")"
else
	skip mem.huge "transparent huge pages are off"
fi

# --- the kernel's own sums, while nothing moves; descriptors and threads ---
ask parts 'eventfds 7' '^ok' && ask parts 'inotify 3' '^ok' && ask parts 'threads 5' '^ok'
look still "$pid"
is mem.still "$(value "$WORK/still.json" "[$sums, d['total']['rss_bytes'], d['total']['swap_bytes'], abs(d['total']['pss_bytes'] - $(
	awk '/^Pss:/ { print $2 * 1024 }' "/proc/$pid/smaps_rollup")) < 128 << 10, d['kernel']['page_table_bytes'], d['threads']['count'],
	d['descriptors']['count'], d['descriptors']['limit'], d['oom_score'], d['total']['mappings']]")" \
	"[True, $(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$pid/smaps_rollup"), $(awk '/^Swap:/ { print $2 * 1024 }' "/proc/$pid/smaps_rollup"), True, $(
	awk '/^VmPTE/ { print $2 * 1024 }' "/proc/$pid/status"), $(ls "/proc/$pid/task" | wc -l), $(ls "/proc/$pid/fd" | wc -l), $(
	awk '/^Max open files/ { print $4 }' "/proc/$pid/limits"), $(cat "/proc/$pid/oom_score"), $(wc -l <"/proc/$pid/maps")]"
is mem.kinds "$(value "$WORK/still.json" "([kind('eventfd'), kind('inotify'), d['descriptors']['inotify_watches']] +
	[n['count'] for n in d['threads']['names'] if n['name'] == 'leaky-#'])")" '[7, 3, 3, 5]'

# --- which part grows ---
# grows NAME COMMAND WORDS REGEX: while it does so again and again, the report says so.
grows() {
	"$EBB" mem "$pid" -d 1s -i 100ms --no-color >"$WORK/grows.out" 2>"$WORK/grows.err" &
	looking=$!
	for _ in $(seq 20); do
		gone "$looking" && break
		ask parts "$2" '^ok' || break
		tick 0.05
	done
	wait "$looking"
	is "mem.grows.$1.status" $? 0
	tac "$WORK/grows.out" | sed '/^mem  /q' | tac >"$WORK/grows.last"
	says "mem.grows.$1" "$WORK/grows.last" "$3"
	says "mem.grows.$1.next" "$WORK/grows.last" "^next: .*$4"
}
grows arena 'arena 64' 'GROWS: malloc arenas \+[0-9.]+ MiB in 1\.' "ebb leak $pid "
grows anonymous 'anon 64' 'GROWS: other anonymous ' "ebb leak $pid "
grows shared 'memfd 64' 'GROWS: shared memory ' "ebb (faults|mem) $pid"
grows threads 'threads 1' 'GROWS: threads: leaky-# \+' "leak $pid --pairs threads"
grows inotify 'inotify 1' 'GROWS: descriptors: inotify instances \+[0-9]+; at this rate the limit is reached in ≈' "leak $pid --pairs inotify"

"$EBB" mem "$pid" -d 1s -i 100ms --no-color >"$WORK/calm.out" 2>/dev/null
says mem.calm "$WORK/calm.out" '^no part grows by more than '
says_not mem.calm.silent "$WORK/calm.out" 'GROWS(:| too)'

# --- many mappings, that change while they are read ---
ask parts 'split 10000' '^ok' 20 && look before "$pid"
between mem.many "$(value "$WORK/before.json" "d['total']['mappings']")" 10000 11000
(for _ in $(seq 20); do echo 'drop 5000'; echo 'split 5000'; done) >&"${FD[parts]}"
for i in 1 2 3; do
	look changing "$pid" && is "mem.changing.$i" "$(value "$WORK/changing.json" "$sums")" True
done
until_true 20 lines_at_least "$pid" "${OUT[parts]}" '^ok split' 21

# --- names ---
"$EBB" mem "$pid" -v --top 3 --no-color >"$WORK/verbose.out" 2>/dev/null
is mem.verbose.status $? 0
says mem.verbose.file "$WORK/verbose.out" "$WORK/fi.x0ale.x1b.31m"
check mem.verbose.clean "control characters" eval "! grep -aPq '[\\x00-\\x08\\x0b-\\x1f\\x7f]' '$WORK/verbose.out'"

# --- it calls exec, it ends, it is stopped: all while it is looked at ---
"$EBB" mem "$pid" -d 1s -i 200ms --no-color >"$WORK/exec.out" 2>"$WORK/exec.err" &
looking=$!
tick 0.5
tell parts exec
wait "$looking"
is mem.exec.status $? 0
says mem.exec "$WORK/exec.out" 'called exec meanwhile'
start doomed "$PROGRAMS/parts"
await doomed '^ready'
"$EBB" mem "${PID[doomed]}" -i 200ms --no-color >"$WORK/ends.out" 2>"$WORK/ends.err" &
looking=$!
tick 0.5
stop doomed KILL
wait "$looking"
is mem.ends.status $? 0
says mem.ends "$WORK/ends.out" 'it has ended'
kill -STOP "$pid"
look stopped "$pid"
kill -CONT "$pid"
"$EBB" mem "$pid" -i 1s --no-color >"$WORK/int.out" 2>&1 &
looking=$!
tick 0.5
kill -INT "$looking" 2>/dev/null || true
kill -TERM "$looking"
wait "$looking"
is mem.term $? 0
says mem.term.report "$WORK/int.out" '^next: '

# --- bad input ---
# bad NAME CODE REGEX ARGUMENT…
bad() {
	"$EBB" mem "${@:4}" >"$WORK/bad.out" 2>"$WORK/bad.err"
	is "mem.bad.$1.status" $? "$2"
	[ -z "$3" ] || says "mem.bad.$1.says" "$WORK/bad.err" "$3"
	is "mem.bad.$1.stdout" "$(wc -c <"$WORK/bad.out")" 0
}
sh -c : &
dead=$!
wait "$dead"
bad none 2 'mem takes one process'
bad two 2 'mem takes one process' "$pid" "$pid"
bad dead 1 "no process $dead" "$dead"
bad name 2 "no process has the name" no-such-name
bad zero 2 'no process id' 0
bad duration 2 '-d' "$pid" -d 0s
bad interval 2 '100ms' "$pid" -i 1ms
bad output 1 '' "$pid" -o /nonexistent/x
bad contradiction 2 'contradict' "$pid" -q -v
ask parts 'threads 1' '^ok'
thread=$(ls "/proc/$pid/task" | grep -vx "$pid" | head -1)
bad thread 2 "thread of process $pid" "$thread"
start parent "$PROGRAMS/forks"
await parent '^ready' && ask parent zombie '^zombie' && bad zombie 4 'zombie' "$(awk '/^zombie/ { print $2 }' "${OUT[parent]}")"
stop parent KILL
kthread=$(awk '/^PPid:\t2$/ { print FILENAME; exit }' /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3)
if [ -n "$kthread" ]; then bad kernel-thread 4 'kernel thread: it has no memory' "$kthread"; else skip mem.bad.kernel-thread "none is visible"; fi
"$EBB" mem "$pid" >/dev/full 2>"$WORK/bad.err"
is mem.full-disk $? 1

# --- a 32-bit program: looked at like the others ---
if [ -x "$PROGRAMS/tiny32" ]; then
	start tiny "$PROGRAMS/tiny32"
	until_true 5 has_line "/proc/${PID[tiny]}/maps" tiny32
	look tiny "${PID[tiny]}" && is mem.32bit "$(value "$WORK/tiny.json" "[$sums, part('code')['rss_bytes'] > 0]")" '[True, True]'
	stop tiny KILL
else
	skip mem.32bit "no 32-bit compiler"
fi

# --- without root: one's own, and others' ---
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	cp "$EBB" "$PROGRAMS/parts" "$WORK/" && chmod 755 "$WORK/ebb" "$WORK/parts"
	start own setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/parts"
	await own '^ready'
	setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/ebb" mem "${PID[own]}" --no-color >"$WORK/own.out" 2>"$WORK/own.err"
	is mem.own.status $? 0
	says mem.own "$WORK/own.out" '^RSS, the sum'
	setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/ebb" mem "$pid" >"$WORK/other.out" 2>"$WORK/other.err"
	is mem.other.status $? 4
	says mem.other "$WORK/other.err" "may not be read.*sudo ebb mem $pid"
	stop own
else
	skip mem.own "needs root and setpriv"
fi
finish
