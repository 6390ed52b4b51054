#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What a program maps itself: mmap, partial munmap, mremap, MAP_FIXED, thread stacks, files, reservations, and what passes by
# the C library; held as resident pages, each by the function that has mapped it. What an allocator maps is not there twice.
. "$(dirname "$0")/lib.sh"
need_ebb

head -c 100000 /dev/zero >"$WORK/file"
raw='raw_system_calls_or_brk'

# started HANDLE PROGRAM [VARIABLE]
started() { start "$1" env ${3:+"$3"} "$PROGRAMS/$2" "$WORK/file" && await "$1" '^ready' || { not_ok "$1" "$2 does not start"; return 1; }; }
wants() { awk -v re="$2" '$1 ~ re && NF == 3' "${OUT[$1]}" >"$WORK/wants"; }
number() { awk -v what="$2" '$1 == what { n = $2 } END { print n + 0 }' "${OUT[$1]}"; }

# together NAME "HANDLE ARGUMENT…"…: several ebb on one process, until all are attached.
together() {
	local name=$1 line
	shift
	for line; do
		# shellcheck disable=SC2086
		start "${line%% *}" "$EBB" leak "${PID[$name]}" --max-overhead none ${line#* }
	done
	for line; do
		until_true 60 line_or_gone "${PID[${line%% *}]}" "${ERR[${line%% *}]}" '^attached'
		has_line "${ERR[${line%% *}]}" '^attached' || { not_ok "$name.attach" "not attached: $line"; return 1; }
	done
}

# ended NAME HANDLE…: stops several at once; all exit codes are 0.
ended() {
	local name=$1 h
	shift
	for h; do kill -INT "${PID[$h]}" 2>/dev/null; done
	for h; do
		wait_end "$h"
		is "$name.$h.status" "$STATUS" 0 || show "$WORK/$h.err"
	done
}

# counted NAME PROGRAM RAW [VARIABLE]: bytes and blocks of each function; RAW: what of `raw` and `brk` is in the row without a stack.
counted() {
	local name=$1 sum=0 what site bytes blocks bad=
	started "$name" "$2" "${4:-}" || return
	together "$name" "bytes -f folded" "blocks -f folded --value held-blocks" || return
	ask "$name" go '^done'
	ended "$name" bytes blocks
	wants "$name" '^(map|grow|alloc)_'
	check "$name.sites" "nothing is wanted: the test is wrong" test "$(wc -l <"$WORK/wants")" -ge 15
	check "$name.bytes" "not the program's own numbers" frames_equal "$WORK/bytes.out" "$WORK/wants" 2 .
	check "$name.blocks" "not the program's own numbers" frames_equal "$WORK/blocks.out" "$WORK/wants" 3 .
	# A block is one of the allocator or a mapping.
	while read -r site bytes blocks; do
		[ "$(folded_match "$WORK/bytes.out" "[;]$site;.*\\[mmap\\] ")" = "$([[ $site = alloc_* ]] && echo 0 || echo "$bytes")" ] || bad+=" $site"
	done <"$WORK/wants"
	is "$name.kinds" "$bad" ''
	# musl's functions say nothing of their callers
	is "$name.threads" "$(folded_match "$WORK/blocks.out" ';(map_threads;.*|\[cut\];_*)pthread_create;.*\[mmap\] ')" 3
	bytes=$(folded_match "$WORK/bytes.out" ';_*pthread_create;.*\[mmap\] ')
	check "$name.stacks" "stacks of three threads are not 12 KiB to 1 MiB: $bytes" test "$bytes" -ge 12288 -a "$bytes" -lt 1048576
	for what in $3; do sum=$((sum + $(number "$name" "$what"))); done
	is "$name.raw" "$(folded_match "$WORK/bytes.out" "$raw")" "$sum"
	# Nothing else has mapped anything.
	is "$name.others" "$(grep -F '[mmap]' "$WORK/blocks.out" | grep -Evc ';((map|grow)_[a-z]+|_*pthread_create);')" 0
	tell "$name" quit
	wait_end "$name"
	is "$name.program" "$STATUS" 0
}

for way in session multi perf; do EBB_ATTACH=$way counted "$way" mappings raw; done
if [ -x "$PROGRAMS/mappings-musl" ]; then counted musl mappings-musl raw; else skip mappings.musl "needs musl-gcc"; fi
# There brk is the program's alone.
for lib in jemalloc.so.2 tcmalloc_minimal.so.4; do
	path=$(find /usr/lib /lib -maxdepth 3 -name "lib$lib" 2>/dev/null | head -n 1)
	[ -n "$path" ] || { skip "mappings.$lib" "not installed"; continue; }
	case $lib in tcmalloc*) counted "${lib%%.*}" mappings raw "LD_PRELOAD=$path" ;; *) counted "${lib%%.*}" mappings "raw brk" "LD_PRELOAD=$path" ;; esac
done

# Threads that are given each other's addresses.
started churn mappings || finish
together churn "bytes -f folded" "blocks -f folded --value held-blocks" || finish
ask churn churn '^done'
ended churn bytes blocks
wants churn '^churn_'
check churn.sites "nothing is wanted: the test is wrong" test "$(wc -l <"$WORK/wants")" = 4
check churn.bytes "not the program's own numbers" frames_equal "$WORK/bytes.out" "$WORK/wants" 2 .
check churn.blocks "not the program's own numbers" frames_equal "$WORK/blocks.out" "$WORK/wants" 3 .
tell churn quit
wait_end churn

# An ebb that does not get to run: that is said, and what is held is found in maps, without a stack.
started lost mappings || finish
together lost "late -f folded" || finish
kill -STOP "${PID[late]}"
ask lost many '^done'
kill -CONT "${PID[late]}"
tick 0.3
kill -INT "${PID[late]}"
wait_end late
is lost.status "$STATUS" 3
says lost.words "$WORK/late.err" 'lost: [0-9]+ calls of mmap, munmap, mremap not booked'
is lost.found "$(folded_match "$WORK/late.out" "$raw|map_plain")" 122880
tell lost quit
wait_end lost

# What the options make of them; a child; the end.
started all mappings || finish
together all "alloc -f folded --value alloc-bytes" "large -f folded --value held-blocks --min-size 128K" "old -f folded --older 1h" \
	"pairs -f folded --pairs threads" "held -i 100ms --top 30" "peak -i 100ms --top 30 --value peak-bytes" || finish
ask all go '^done'
ended options alloc large old pairs
is options.alloc "$(folded_sum "$WORK/alloc.out" map_plain)" 655360	# of calls, touched or not
is options.alloc.grown "$(folded_sum "$WORK/alloc.out" grow_grown)" 262144
is options.alloc.reserved "$(folded_sum "$WORK/alloc.out" map_reserved)" 1073741824
is options.min-size "$(folded_sum "$WORK/large.out" map_plain) $(folded_sum "$WORK/large.out" map_untouched)" "0 3"
is options.older "$(folded_total "$WORK/old.out")" 0
is options.pairs "$(folded_match "$WORK/pairs.out" 'map_threads') $(folded_match "$WORK/pairs.out" mmap)" "3 0"
ask all fork '^child' && OTHERS+=("$(number all child)")
tick 0.5	# they look every tenth of a second; when it has ended its pages are gone
tell all quit
for h in held peak; do
	wait_end "$h"
	is "$h.status" "$STATUS" 0
	table_last "$WORK/$h.out" >"$WORK/last"
	says "$h.row" "$WORK/last" ' 192 KiB .*map_holes mappings.c:[0-9]+ via \[mmap\]'
	says "$h.plain" "$WORK/last" ' 120 KiB .*map_plain'
	says "$h.moved" "$WORK/last" ' 24 KiB .*grow_grown'
	says "$h.raw" "$WORK/last" ' 80 KiB .*\[mapped by raw system calls or brk, no stack\]'
	says "$h.mappings" "$WORK/last" '^ *mappings: [0-9.]+ KiB of what is held, resident in [0-9]+ that'
done

# exec: what was there before is in the report of before.
started other mappings || finish
together other "execed -i 100ms --top 30" || finish
ask other go '^done'
tick 0.5
tell other exec
await_err execed 'called exec' || not_ok exec "ebb does not say it"
says exec.before "${OUT[execed]}" ' 192 KiB .*map_holes'
until_true 20 eval '[ "$(lines_cnt "${ERR[execed]}" "^attached")" -ge 2 ]'
stop execed
is exec.status "$STATUS" 0
table_last "$WORK/execed.out" >"$WORK/last"
says_not exec.after "$WORK/last" 'map_holes'
tell other quit
wait_end other
finish
