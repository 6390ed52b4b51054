# SPDX-License-Identifier: GPL-2.0-only
# rss.tool and leak.idle, for tests/bench/run: memory of a whole ebb beside a process that holds 1 M blocks, or none.

LIVE=1000000

# ebb_on_victim FILE ARGUMENTS…: starts both; $victim, $ebb, and $jobs, a descriptor for what the victim shall do.
ebb_on_victim()
{
	local out=$1
	shift
	[ -p "$work/jobs" ] || mkfifo "$work/jobs"
	exec {jobs}<> "$work/jobs"
	STDIN=$work/jobs begin "$work/victim" "$VICTIM"
	victim=$pid
	await "$victim" "$work/victim" '^ready' || { say "the victim does not start"; return 1; }
	begin "$out" "$EBB" leak "$victim" --max-overhead none --no-color "$@"
	ebb=$pid
	await "$ebb" "$out" '^attached to' || { say "ebb does not attach: $(tail -n 1 "$out")"; return 1; }
}

ebb_off_victim()
{
	end "$ebb" INT
	ebb_status=$status
	end "$victim" KILL
	exec {jobs}>&-
}

# In MiB, what the last report says of the books' kernel memory.
books_mib()
{
	sed -n 's/.* books \([0-9.,]*\) \([KMG]\)iB of kernel memory.*/\1 \2/p' "$1" | tail -n 1 |
		awk '{ gsub(",", "", $1); print $1 * ($2 == "K" ? 1 / 1024 : $2 == "G" ? 1024 : 1) }'
}

# In MiB: kernel memory of all maps and programs of which a process has a descriptor, each once.
descriptors_mib()
{
	cat "/proc/$1/fdinfo/"* 2> /dev/null | awk '
		/^(map_type|prog_type):/ { memlock = 0 }
		/^memlock:/ { memlock = $2 }
		/^(map_id|prog_id):/ { if (!(($1 $2) in seen)) { seen[$1 $2]; sum += memlock } }
		END { print sum / 1048576 }'
}

peak_mib() { awk '/^VmHWM:/ { print $2 / 1024 }' "/proc/$1/status" 2> /dev/null; }

bench_rss()
{
	local out=$work/rss peak

	ebb_on_victim "$out" -i 1s --value held-blocks || return 1
	echo "0 5 1 0 $LIVE" >&"$jobs"
	await "$victim" "$work/victim" '^0\.00' 60 || { say "rss.tool: the victim does not answer"; return 1; }
	pause 8		# the cutoff for old blocks needs 5 s: then snapshots read the whole table
	peak=$(peak_mib "$ebb")
	ebb_off_victim
	[ -n "$peak" ] || { say "rss.tool: ebb ended too early: $(tail -n 1 "$out")"; return 1; }
	say "rss.tool: peak RSS of ebb with $LIVE live blocks $(printf %.1f "$peak") MiB; kernel memory $(books_mib "$out") MiB;" \
		"exit code $ebb_status"
	[ "$ebb_status" = 0 ] || say "rss.tool: ebb says: $(grep -Ei 'lost|full' "$out" | tail -n 4)"
	result rss.tool "$peak" 1 max 64 MiB
}

bench_idle()
{
	local out=$work/idle fds own

	ebb_on_victim "$out" -i 1s || return 1
	pause 2
	fds=$(descriptors_mib "$ebb")
	ebb_off_victim
	own=$(books_mib "$out")
	[ -n "$own" ] || { say "leak.idle: no such figure in ebb's report: $(tail -n 1 "$out")"; return 1; }
	say "leak.idle: kernel memory with nothing to book: $own MiB by ebb's report, $fds MiB by its descriptors (memlock of maps and" \
		"programs)"
	result leak.idle "$own" 2 max 8 MiB
	result leak.idle.descriptors "$fds" 2 max 8 MiB
}
