# SPDX-License-Identifier: GPL-2.0-only
# mem.maps and mem.lock, for tests/bench/run: what a look of `ebb mem` takes, and what it does to the one that is looked at.

MAPS=$O/tests/bench/maps

# maps_begin COUNT MIB: $victim, and $jobs to tell it.
maps_begin()
{
	[ -p "$work/maps-jobs" ] || mkfifo "$work/maps-jobs"
	exec {jobs}<> "$work/maps-jobs"
	STDIN=$work/maps-jobs begin "$work/maps" "$MAPS" "$@"
	victim=$pid
	await "$victim" "$work/maps" '^ready' 60 || { say "the process with mappings does not start"; return 1; }
}
maps_end() { end "$victim" KILL; exec {jobs}>&-; }

# One look: `WALL_MS SMAPS_MS`.
mem_look()
{
	local begin=${EPOCHREALTIME/./} end smaps

	"$EBB" mem "$victim" -f json -o "$work/mem.json" || return 1
	end=${EPOCHREALTIME/./}
	smaps=$(sed -n 's/^ *"read_ns": \([0-9]*\).*/\1/p' "$work/mem.json")
	awk -v us=$((end - begin)) -v ns="$smaps" 'BEGIN { print us / 1000, ns / 1e6 }'
}

bench_mem_maps()
{
	local cnt i look walls reads

	for cnt in 10000 65000; do
		maps_begin "$cnt" 0 || return 1
		walls=() reads=()
		for ((i = 0; i < $(rounds_wanted 15); i++)); do
			read -r -a look < <(mem_look) || { maps_end; return 1; }
			walls+=("${look[0]}")
			reads+=("${look[1]}")
		done
		maps_end
		say "mem.maps: $cnt mappings: the whole of ebb mem $(median "${walls[@]}") ms, of it reading smaps $(median "${reads[@]}") ms"
		[ "$cnt" != 10000 ] || result mem.maps "$(median "${walls[@]}")" 1 max 100 ms
		[ "$cnt" != 65000 ] || result mem.maps.most "$(median "${walls[@]}")" 1
	done
}

# A second of mmap and munmap in the target, bare and while look follows look: `P50 P99 P99.9 MAX` in µs.
lock_second()
{
	local before looking=

	before=$(grep -c '^mmap' "$work/maps")
	if [ "$1" = looked ]; then
		begin "$work/looking" bash -c 'while :; do "$0" mem "$1" -f json -o "$2" || exit 1; done' "$EBB" "$victim" "$work/mem.json"
		looking=$pid
	fi
	echo go >&"$jobs"
	until_true 10 more_lines "$before"
	[ -z "$looking" ] || end "$looking" KILL
	tail -n 1 "$work/maps" | cut -d ' ' -f 2-
}
more_lines() { [ "$(grep -c '^mmap' "$work/maps")" -gt "$1" ]; }

bench_mem_lock()
{
	local shape i how line
	local -A p99 worst

	for shape in "10000 0" "0 1024"; do
		# shellcheck disable=SC2086
		maps_begin $shape || return 1
		for how in bare looked; do p99[$how]= worst[$how]=; done
		for ((i = 0; i < $(rounds_wanted 5); i++)); do
			for how in bare looked; do
				read -r -a line < <(lock_second "$how")
				p99[$how]+=" ${line[1]}"
				worst[$how]+=" ${line[3]}"
			done
		done
		maps_end
		# shellcheck disable=SC2086
		say "mem.lock: ${shape% *} mappings and ${shape#* } MiB in one: mmap in the target, p99 $(median ${p99[bare]}) µs bare," \
			"$(median ${p99[looked]}) looked at without a pause; the longest $(median ${worst[bare]}) and $(median ${worst[looked]})"
		# shellcheck disable=SC2086
		[ "$shape" != "10000 0" ] && result mem.lock.large "$(awk -v us="$(median ${worst[looked]})" 'BEGIN { print us / 1000 }')" 2 "" 0 ms
		# shellcheck disable=SC2086
		[ "$shape" = "10000 0" ] && result mem.lock "$(awk -v us="$(median ${worst[looked]})" 'BEGIN { print us / 1000 }')" 2 "" 0 ms
	done
	return 0
}
