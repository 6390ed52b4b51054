#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
# `ebb faults` on a program that touches known numbers of pages of each kind of memory, compared with what the kernel says of
# itself (getrusage()): what is attributed, what is not, and that this is said.
. "$(dirname "$0")/lib.sh"
need_ebb

# On the same disk as the tree: /tmp may be a tmpfs, which has no major faults.
FILES=$(mktemp -d "$(dirname "$PROGRAMS")/toucher.XXXXXX") || exit 1
remove_files() { rm -rf "$FILES"; }
HOOKS+=(remove_files)

# did WHAT COLUMN: of the last answer; 3 the pages, 4 minor and 5 major faults by getrusage().
did() { awk -v what="$1" -v c="$2" '$1 == "did" && $2 == what { n = $c } END { print n }' "${OUT[toucher]}"; }
do_it() { ask toucher "$1" "^did ${1% *} " 60 || not_ok "faults.$1" "no answer"; }
# of FUNCTION [LEAF]: sum of the stacks with this function, and this text at their end.
of() { awk -v f=";$1;" -v leaf="${2:-}" 'index(";" $0, f) && index($0, leaf) { n += $NF } END { printf "%.0f\n", n }' "$WORK/folded"; }

toucher_start() { start toucher "$PROGRAMS/toucher" "$FILES" && await toucher '^ready'; }
toucher_start || finish

# --- each kind of memory, by the tracepoint ---
KINDS="heap:malloc_heap arena:malloc_arenas anon:other_anonymous stack:thread_stacks private:file,_private shared:file,_shared
	shmem:shared_memory memfd:shared_memory jit:JIT_code"
if [ "$(uname -m)" = x86_64 ] &&
		attached_or_fail faults.attach ebb faults "${PID[toucher]}" -f folded -o "$WORK/folded"; then
	n=200
	for kind in $KINDS; do do_it "${kind%%:*} $((n += 10))"; done
	for what in 'zero 150' 'cow 160' 'huge 3' 'major 50' 'segv 60' 'cycle 4' 'child 170' 'read 180'; do do_it "$what"; done
	tick 1.2		# a look, so that mappings are known that end with the process
	stop ebb
	is faults.status "$STATUS" 0 || show "$WORK/ebb.err"
	check faults.valid "no folded stacks" folded_valid "$WORK/folded"
	for kind in $KINDS; do
		what=${kind%%:*}
		is "faults.kind.$what" "$(of "touch_$what" "[first_touch:_${kind#*:}")" "$(did "$what" 4)"
		check "faults.pages.$what" "the kernel counted $(did "$what" 4) faults: the test does not touch what it says" \
			test "$(did "$what" 4)" -ge 200
	done
	is faults.zero "$(of touch_zero '[read_of_zeroes:')" 150
	is faults.zeroed "$(of touch_zeroed '[copy-on-write:_other_anonymous')" 150
	is faults.cow "$(of touch_cow '[copy-on-write:_other_anonymous')" 160
	is faults.huge "$(of touch_huge ',_huge_pages]')" "$(did huge 4)"
	is faults.segv "$(of touch_nothing '[first_touch:_no_mapping')" 60
	is faults.cycle "$(of touch_cycle '[first_touch:_malloc_heap')" "$(of touch_cycle)"
	check faults.cycle.cnt "$(of touch_cycle) faults in a heap that grew four times by 100 pages" \
		eval '[ "$(of touch_cycle)" -ge 380 ] && [ "$(of touch_cycle)" -le 400 ]'
	# its memory is gone when it is looked at, or not
	is faults.child "$(folded_match "$WORK/folded" ';touch_child;\\[first_touch:_.*anonymous')" 170
	is faults.read "$(of read_into)" "" 0 1 2 3 4	# the kernel's own faults are not seen
	if [ "$(did major 5)" -gt 0 ]; then
		is faults.major "$(of touch_major '[major:_file,_shared]')" "$(did major 5)"
	else
		skip faults.major "this file system has no major faults: what is dropped from the page cache comes back as minor"
	fi
	is faults.complete "$(grep 'touch_' "$WORK/folded" | grep -vEc '^toucher;(_start|clone3?|__clone3?|libc.so.6\+0x[0-9a-f]+);')" 0
	says_not faults.lost "$WORK/ebb.err" '^lost'
else
	skip faults.tracepoint "no page_fault_user on this machine"
fi

# --- the table: what the kernel has counted, and what was not attributed ---
number() { sed -n "s/.*$1.*/\\1/p" "${2:-$WORK/ebb.out}" | tail -n 1 | tr -d ,; }
if attached_or_fail faults.table.attach ebb faults "${PID[toucher]}" --top 50; then
	for what in 'anon 300' 'read 400' 'populate 500' 'cycle 3' 'huge 4' 'segv 70'; do do_it "$what"; done
	stop ebb
	is faults.table.status "$STATUS" 0 || show "$WORK/ebb.err"
	seen=$(sed -n 's/^\([0-9,]*\) faults (.*/\1/p' "$WORK/ebb.out" | tr -d ,) minor=$(number 'minflt +\([0-9,]*\)') missed=$(number 'not attributed: \([0-9,]*\)')
	major=$(number 'majflt +\([0-9,]*\)')
	# what ended in a signal is no fault to the kernel
	is faults.table.sum $((seen + missed - 70)) $((minor + major))
	check faults.table.missed "$missed not attributed, 900 were had by the kernel" \
		eval '[ "$missed" -ge 900 ] && [ "$missed" -le 960 ]'
	says faults.table.net "$WORK/ebb.out" '^net: RSS .* → .* = .*: anonymous \+'
	if grep -q '^memory "not known"' "$WORK/ebb.out"; then
		skip faults.table.huge "the kernel's list of mappings was busy, and the table says so"
	elif [ "$(did huge 4)" = 4 ]; then
		says faults.table.huge "$WORK/ebb.out" '^huge pages: AnonHugePages \+[0-9.]+ MiB; each was made by one fault'
		says faults.table.least "$WORK/ebb.out" '^ *[4-9] .* ≥(16|20|24) KiB .*touch_huge'
	else
		skip faults.table.huge "no huge pages are given here: 4 of them took $(did huge 4) faults"
	fi
	says faults.table.row "$WORK/ebb.out" '^ *300 .* 1\.2 MiB +300 .*other anonymous .*touch_anon'
fi

# --- the other sensor: the kernel's own faults as well, but not what happened ---
if attached_or_fail faults.events.attach ebb faults "${PID[toucher]}" --sensor events -f folded -o "$WORK/folded"; then
	n=100
	for kind in $KINDS; do do_it "${kind%%:*} $((n += 10))"; done
	for what in 'read 333' 'child 222' 'major 50'; do do_it "$what"; done
	tick 1.2
	stop ebb
	is faults.events.status "$STATUS" 0 || show "$WORK/ebb.err"
	for kind in $KINDS; do
		what=${kind%%:*}
		is "faults.events.$what" "$(of "touch_$what" "[minor:_${kind#*:}")" "$(did "$what" 4)"
	done
	is faults.events.read "$(of read_into '[minor:_other_anonymous]')" 333
	check faults.events.child "$(of touch_child) faults of a child that had 222" \
		eval '[ "$(of touch_child)" -ge 222 ] && [ "$(of touch_child)" -le 225 ]'
	[ "$(did major 5)" = 0 ] || is faults.events.major "$(of touch_major '[major:')" "$(did major 5)"
fi

# --- values ---
if attached_or_fail faults.bytes.attach ebb faults "${PID[toucher]}" -f folded -o "$WORK/folded" --value bytes; then
	do_it 'anon 256'
	stop ebb
	is faults.bytes "$(of touch_anon)" $((256 * $(getconf PAGESIZE)))
fi
if attached_or_fail faults.ns.attach ebb faults "${PID[toucher]}" -f folded -o "$WORK/folded" --value major-ns; then
	do_it 'major 40'
	do_it 'anon 40'
	stop ebb
	is faults.ns.minor "$(of touch_anon)" 0
	[ "$(did major 5)" = 0 ] || [ "$(uname -m)" != x86_64 ] ||
		check faults.ns.major "major faults that took no time" test "$(of touch_major)" -gt 10000
fi

# --- a new program, the end, losses ---
if attached_or_fail faults.exec.attach ebb faults "${PID[toucher]}" -f folded -o "$WORK/folded"; then
	do_it 'anon 100'
	tell toucher 'exec 1'
	await toucher '^ready' 30 2
	do_it 'anon 130'
	stop ebb
	is faults.exec.status "$STATUS" 0 || show "$WORK/ebb.err"
	is faults.exec.both "$(of touch_anon '[first_touch:')" 230
fi
if attached_or_fail faults.lost.attach ebb faults "${PID[toucher]}" --max-memory 4M; then
	do_it 'many 9000'
	stop ebb
	is faults.lost.status "$STATUS" 3
	says faults.lost.said "$WORK/ebb.out" '^lost: [0-9]+ faults that found no room in the books'
fi
if attached_or_fail faults.end.attach ebb faults "${PID[toucher]}"; then
	do_it 'anon 200'
	do_it 'read 300'
	stop toucher KILL
	wait_end ebb 20
	is faults.end.status "$STATUS" 0 || show "$WORK/ebb.err"
	says faults.end.said "$WORK/ebb.out" 'the process has ended'
	missed=$(number 'not attributed: \([0-9,]*\)')
	check faults.end.missed "$missed not attributed" eval '[ "$missed" -ge 300 ] && [ "$missed" -le 330 ]'
fi

# --- the whole machine, by process ---
toucher_start || finish
if attached_or_fail faults.machine.attach ebb faults --top 1000; then
	do_it 'anon 5000'
	stop ebb
	is faults.machine.status "$STATUS" 0 3 || show "$WORK/ebb.err"
	says faults.machine.row "$WORK/ebb.out" "^ *5,[0-9]+ .*other anonymous.* toucher\\[${PID[toucher]}\\]"
	says faults.machine.path "$WORK/ebb.out" '^ +5,000 touch_anon'
fi
stop toucher TERM

# --- bad input ---
expect() {
	ebb_run bad faults "${@:4}"
	if [[ $STATUS =~ ^($2)$ ]]; then ok "faults.bad.$1"; else not_ok "faults.bad.$1" "got $STATUS, want $2"; show "$WORK/bad.err"; fi
	says "faults.bad.$1.says" "$WORK/bad.err" "$3"
}
sh -c : &
dead=$!
wait "$dead"
expect dead 1 "$dead" "$dead" -d 1s
expect kernel-thread 4 'kernel thread' 2 -d 1s
expect name '1|2' no-such-name no-such-name -d 1s
expect both 2 'one process' $$ --cgroup / -d 1s
expect twice 2 'one process' -p $$ $$ -d 1s
expect quiet 2 'contradict' -q -v -d 1s
expect value 2 'major-ns' --value held-bytes -d 1s
expect memory 2 'max-memory' --max-memory 1 -d 1s
expect cgroup 1 "no cgroup '/no/such" --cgroup /no/such -d 1s
expect full 1 'no space' $$ -d 1s -o /dev/full
if command -v setpriv >/dev/null; then
	mkdir "$WORK/bin" && cp "$EBB" "$WORK/bin/ebb" && chmod 755 "$WORK/bin/ebb"
	start bad setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all "$WORK/bin/ebb" faults -d 1s
	wait_end bad
	is faults.bad.nobody "$STATUS" 4
	says faults.bad.nobody.says "$WORK/bad.err" 'sudo|root|CAP_'
fi
finish
