#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beside: waiting
# `ebb leak` from a PID to names, in every form of output, on the bundled server.
. "$(dirname "$0")/lib.sh"
need_ebb

LEAK_FRAMES='worker_main;serve_requests;handle_upload;session_open;session_new'

start server "$PROGRAMS/server" --seconds 600
await server '^serving' || finish
pid=${PID[server]}

# --- folded, to standard output, ended by Ctrl-C ---
if attached_or_fail leak.attach folded leak "$pid" -f folded --max-overhead none; then
	tick 3
	stop folded
	is leak.folded.status "$STATUS" 0
	out=$WORK/folded.out
	check leak.folded.valid "standard output holds something else than folded stacks" folded_valid "$out"
	check leak.folded.comm "a line does not begin with the name of the process" \
		awk '!/^server;/ { bad = 1 } END { exit bad || !NR }' "$out"
	check leak.folded.stack "no stack ends in $LEAK_FRAMES" \
		grep -Eq ";$LEAK_FRAMES [0-9]+\$" "$out" || show "$out"
	check leak.folded.blocks "held bytes are no multiple of the size of a session" \
		test $(($(folded_sum "$out" session_new) % 1024)) = 0
	check leak.folded.cache "the cache is missing" test "$(folded_sum "$out" cache_entry_new)" -gt 0
	check leak.folded.allocator "the allocator itself is a frame: $(grep -oE ';(__libc_)?(malloc|calloc) ' "$out" | head -1)" \
		eval "! grep -Eq ';(__libc_)?(malloc|calloc|realloc) [0-9]+\$' '$out'"
	says_not leak.folded.progress "$out" '^attached'
fi

# --- the PID in each of its forms ---
cp "$PROGRAMS/server" "$WORK/e2e-$$"
cp "$PROGRAMS"/lib{cache,session}.so "$WORK/"
start named "$WORK/e2e-$$" --seconds 600
await named '^serving' || finish
for how in "short -p $pid" "long --pid $pid" "equals --pid=$pid" "joined -p$pid" "name e2e-$$"; do
	# shellcheck disable=SC2086
	ebb_run pid leak ${how#* } -d 1s -f folded --max-overhead none
	check "leak.target.${how%% *}" "exit code $STATUS, or no stacks" \
		eval "[ '$STATUS' = 0 ] && folded_valid '$WORK/pid.out'" || show "$WORK/pid.err"
done
stop named TERM

# --- the table ---
ebb_run table leak "$pid" -d 6s -i 1s --max-overhead none
is leak.table.status "$STATUS" 0 || show "$WORK/table.err"
out=$WORK/table.out
says leak.table.head "$out" "^ *leak .*server.*\\b$pid\\b.*exact"
says leak.table.lost "$out" 'lost 0'
says leak.table.since "$out" 'only allocations since [0-9]{2}:[0-9]{2}:[0-9]{2}'
says leak.table.rss "$out" '^ *RSS '
says leak.table.columns "$out" '^ *CLASS +HELD'
says leak.table.next "$out" '^ *next:'
check leak.table.periods "only one table in six periods" test "$(lines_cnt "$out" '^ *CLASS +HELD')" -ge 3
check leak.table.classes "no row of a class" test "$(table_rows "$out" | wc -l)" -ge 2
check leak.table.path "no row names the leak" eval "table_rows '$out' | grep -q session_new" || show "$out"
# Six periods are too few to be sure of anything.
check leak.table.early "a class is given before 12 snapshots" eval "! table_rows '$out' | grep -q ^LEAK"
check leak.table.plain "escape sequences without a terminal" eval "! grep -q $'\\x1b' '$out'"
check leak.table.commands "next: names a command that does not exist" \
	eval "grep -E '^ *next:' '$out' | grep -oE 'ebb [a-z]+' | sort -u | while read -r _ c; do '$EBB' \$c --help >/dev/null 2>&1 || exit 1; done"

# --- --top ---
ebb_run top leak "$pid" -d 3s -i 1s --top 1 --max-overhead none
is leak.top.status "$STATUS" 0
check leak.top.rows "more than one row and the rest" test "$(table_rows "$WORK/top.out" | grep -vc '^other ')" = 1

# --- --raw shows every frame, innermost and outermost too ---
ebb_run raw leak "$pid" -d 3s -i 1s --raw --max-overhead none
is leak.raw.status "$STATUS" 0
rows=$(table_rows "$WORK/raw.out")
for frame in session_new session_open handle_upload serve_requests worker_main; do
	check "leak.raw.$frame" "not in the rows" eval "grep -q $frame <<<\"\$rows\""
done

# --- -q and -v ---
ebb_run quiet leak "$pid" -d 1s -q -f folded --max-overhead none
is leak.quiet.status "$STATUS" 0
check leak.quiet.stderr "standard error is not empty" test ! -s "$WORK/quiet.err" || show "$WORK/quiet.err"
ebb_run verbose leak "$pid" -d 1s -v -f folded --max-overhead none
is leak.verbose.status "$STATUS" 0
check leak.verbose.stdout "standard output holds something else" folded_valid "$WORK/verbose.out"
check leak.verbose.stderr "says no more than without -v" \
	test "$(wc -l <"$WORK/verbose.err")" -gt "$(wc -l <"$WORK/pid.err")"

# --- -o: by rename, so that a reader never sees half a file ---
echo "old" >"$WORK/file"
inode=$(stat -c %i "$WORK/file")
attached_or_fail leak.output.attach file leak "$pid" -f folded -o "$WORK/file" --max-overhead none && {
	tick 1
	check leak.output.late "the file changed before the end" grep -qx old "$WORK/file"
	stop file
	is leak.output.status "$STATUS" 0
	check leak.output.valid "not folded stacks" folded_valid "$WORK/file"
	check leak.output.rename "written in place" test "$(stat -c %i "$WORK/file")" != "$inode"
	check leak.output.stdout "something on standard output" test ! -s "$WORK/file.out" || show "$WORK/file.out"
	check leak.output.leftovers "a temporary file is left" \
		test "$(find "$WORK" -maxdepth 1 -name '*file*' ! -name 'file.*' ! -name file | wc -l)" = 0
}

# --- --value: four kinds of one run, on a program whose numbers are known ---
start edges "$PROGRAMS/edges"
await edges '^ready' || finish
good=y
for value in held-bytes held-blocks alloc-bytes alloc-blocks; do
	attached_or_fail "leak.value.$value.attach" "$value" leak "${PID[edges]}" --value "$value" -f folded \
		--max-overhead none || good=
done
if [ -n "$good" ] && ask edges run '^done'; then
	for value in held-bytes held-blocks alloc-bytes alloc-blocks; do
		stop "$value"
		is "leak.value.$value.status" "$STATUS" 0 || show "$WORK/$value.err"
	done
	check leak.value.held-bytes "not the program's own numbers" \
		sites_equal "$WORK/held-bytes.out" "${OUT[edges]}" 2 '^edge_'
	check leak.value.held-blocks "not the program's own numbers" \
		sites_equal "$WORK/held-blocks.out" "${OUT[edges]}" 3 '^edge_'
	# Allocated and freed again counts here. realloc moves a block to its caller.
	is leak.value.alloc-bytes.reuse "$(folded_sum "$WORK/alloc-bytes.out" edge_reuse)" 222000
	is leak.value.alloc-blocks.reuse "$(folded_sum "$WORK/alloc-blocks.out" edge_reuse)" 1000
	is leak.value.alloc-blocks.tail "$(folded_sum "$WORK/alloc-blocks.out" edge_tail)" 30
	is leak.value.alloc-blocks.none "$(folded_sum "$WORK/alloc-blocks.out" edge_null)" 0
fi
forget edges

# --- --min-size, --older ---
start sizes "$PROGRAMS/allocs"
await sizes '^ready' || finish
if attached_or_fail leak.min-size.attach small leak "${PID[sizes]}" -f folded --min-size 1K --max-overhead none &&
		ask sizes go '^done'; then
	stop small
	is leak.min-size.status "$STATUS" 0
	is leak.min-size.small "$(folded_sum "$WORK/small.out" keep_these)" 0
	is leak.min-size.large "$(folded_sum "$WORK/small.out" keep_aligned)" 40960
	is leak.min-size.grown "$(folded_sum "$WORK/small.out" keep_grown)" 1000000
fi
stop sizes TERM
start ages "$PROGRAMS/allocs"
await ages '^ready' || finish
if attached_or_fail leak.older.attach old leak "${PID[ages]}" -f folded --older 1h --max-overhead none &&
		ask ages go '^done'; then
	stop old
	is leak.older.status "$STATUS" 0
	is leak.older.young "$(folded_total "$WORK/old.out")" 0
fi
stop ages TERM
start ages "$PROGRAMS/allocs"
await ages '^ready' || finish
if attached_or_fail leak.older.old.attach old leak "${PID[ages]}" -f folded --older 1s --max-overhead none &&
		ask ages go '^done'; then
	tick 3
	stop old
	is leak.older.old.status "$STATUS" 0
	is leak.older.old "$(folded_total "$WORK/old.out")" 1162960
fi
stop ages TERM

# --- --dry-run: says where, and touches nothing ---
ebb_run dry leak "$pid" --dry-run
is leak.dry-run.status "$STATUS" 0
says leak.dry-run.malloc "$WORK/dry.out" 'libc.*\bmalloc\b|\bmalloc\b.*libc'
for function in calloc realloc free posix_memalign; do
	says "leak.dry-run.$function" "$WORK/dry.out" "\\b$function\\b"
done
says leak.dry-run.offset "$WORK/dry.out" '\+[0-9]+'
check leak.dry-run.attaches "it attached" eval "! grep -q ^attached '$WORK/dry.err'"
ebb_run dryname leak "$pid" --dry-run -q
is leak.dry-run.quiet "$STATUS" 0

# --- every way of attaching ---
for way in session multi perf; do
	EBB_ATTACH=$way ebb_run "way-$way" leak "$pid" -d 2s -f folded --max-overhead none
	is "leak.attach.$way.status" "$STATUS" 0 || show "$WORK/way-$way.err"
	check "leak.attach.$way.stack" "the leak is not in its stacks" \
		grep -Eq ";$LEAK_FRAMES [0-9]+\$" "$WORK/way-$way.out"
done

# --- corners of the interface, each function with known sums, every way of attaching ---
for way in session multi perf; do
	start "edges-$way" "$PROGRAMS/edges"
	await "edges-$way" '^ready' || continue
	export EBB_ATTACH=$way
	attached_or_fail "leak.edges.$way.attach" "e-$way" leak "${PID[edges-$way]}" -f folded --max-overhead none &&
		ask "edges-$way" run '^done' && {
		stop "e-$way"
		is "leak.edges.$way.status" "$STATUS" 0 || show "$WORK/e-$way.err"
		check "leak.edges.$way.sums" "not the program's own numbers" \
			sites_equal "$WORK/e-$way.out" "${OUT[edges-$way]}" 2 '^edge_'
	}
	start "mortal-$way" "$PROGRAMS/mortal"
	await "mortal-$way" '^ready' || continue
	attached_or_fail "leak.mortal.$way.attach" "m-$way" leak "${PID[mortal-$way]}" -f folded --max-overhead none &&
		ask "mortal-$way" go '^done' && {
		stop "m-$way"
		is "leak.mortal.$way.status" "$STATUS" 0 || show "$WORK/m-$way.err"
		check "leak.mortal.$way.sums" "not the program's own numbers" \
			sites_equal "$WORK/m-$way.out" "${OUT[mortal-$way]}" 2 '^(mortal_|die_)'
	}
	unset EBB_ATTACH
done

# --- help comes from the tables and begins with examples ---
"$EBB" leak --help >"$WORK/help" 2>&1
is leak.help.status $? 0
for option in --duration --interval --format --output --top --raw --dry-run --max-overhead --max-memory \
		--min-size --older --value --no-color; do
	says "leak.help.${option#--}" "$WORK/help" "$option"
done
check leak.help.examples "the first lines show no example" eval "head -n 8 '$WORK/help' | grep -q 'ebb leak'"

check leak.alive "the server died" alive "$pid"
# What ends between two snapshots is reported as it was a moment before, and a table in a file has its snapshots, too.
start mortal python3 -c 'import sys, time
print("ready", flush=True); sys.stdin.readline(); kept = []
for i in range(25): kept.append([bytes(4000) for j in range(500)]); time.sleep(0.1)'
await mortal '^ready' || finish
if attached_or_fail leak.mortal.attach died leak "${PID[mortal]}" -i 1m --no-color --max-overhead none; then
	tell mortal go
	wait_end died 30
	is leak.mortal.status "$STATUS" 0
	says leak.mortal.rss "$WORK/died.out" '^RSS .* \(as it was .* before that\): up to .* explained'
	says_not leak.mortal.grew "$WORK/died.out" 'it did not grow'
fi
start filed "$PROGRAMS/grow"
await filed '^ready' || finish
ebb_run file leak "${PID[filed]}" -i 100ms -d 2s -o "$WORK/file.table" --max-overhead none
is leak.file.status "$STATUS" 0
says_not leak.file.early "$WORK/file.table" 'EARLY: [0-9] of'
stop filed TERM

finish
