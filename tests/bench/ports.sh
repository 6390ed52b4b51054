# SPDX-License-Identifier: GPL-2.0-only
# ports.memory, for tests/bench/run: what a whole ebb takes while it follows many sockets.

HELD=100000
HELD_DESTINATIONS=10

# A memory cgroup for ebb alone: the kernel charges maps, their entries and programs to it. Version 1 has its kernel
# part as a figure of its own, version 2 in a table.
cgroup_make()
{
	local root

	group=
	for root in /sys/fs/cgroup/memory /sys/fs/cgroup; do
		[ -e "$root/memory.usage_in_bytes" ] || [ -e "$root/cgroup.subtree_control" ] || continue
		group=$root/ebb-bench.$$
		mkdir "$group" 2> /dev/null && { [ -e "$group/memory.kmem.usage_in_bytes" ] || [ -e "$group/memory.stat" ]; } &&
			return 0
		rmdir "$group" 2> /dev/null
		group=
	done
	return 1
}

cgroup_kernel_mib()
{
	if [ -e "$group/memory.kmem.usage_in_bytes" ]; then
		awk '{ print $1 / 1048576 }' "$group/memory.kmem.usage_in_bytes"
	else
		awk '$1 == "kernel" { print $2 / 1048576 }' "$group/memory.stat"
	fi
}

# shellcheck disable=SC2016	# expanded by the inner shell
bench_ports_memory()
{
	local out=$work/ports churn ebb ebb_status rss charged idle descriptors tracked idle_rss bad=0

	cgroup_make || say "ports.memory: no memory cgroup: kernel memory is what the maps say of themselves"
	[ -p "$work/jobs" ] || mkfifo "$work/jobs"
	exec {jobs}<> "$work/jobs"
	STDIN=$work/jobs begin "$work/churn" "$CHURN"
	churn=$pid
	await "$churn" "$work/churn" '^ready' || { say "ports.memory: no load: $(tail -n 1 "$work/churn")"; return 1; }
	begin "$out" bash -c '[ -z "$1" ] || echo $$ > "$1/cgroup.procs"; shift; exec "$@"' - "$group" \
		"$EBB" ports --no-color -f json -o "$work/ports.json"
	ebb=$pid
	await "$ebb" "$out" '^attached to' || { say "ports.memory: ebb does not attach: $(tail -n 1 "$out")"; return 1; }
	pause 2
	idle_rss=$(awk '/^VmRSS:/ { print $2 / 1024 }' "/proc/$ebb/status")
	idle=$([ -z "$group" ] || cgroup_kernel_mib)
	echo "3 $HELD $HELD_DESTINATIONS" >&"$jobs"
	await "$churn" "$work/churn" '^[0-9.]+ [0-9.]+$' 120 || { say "ports.memory: $(tail -n 1 "$work/churn")"; bad=1; }
	pause 5		# looks, so that ebb's own memory has grown
	rss=$(peak_mib "$ebb")
	descriptors=$(descriptors_mib "$ebb")
	charged=$([ -z "$group" ] || cgroup_kernel_mib)
	end "$ebb" INT 30
	ebb_status=$status
	end "$churn" KILL
	exec {jobs}>&-
	[ -z "$group" ] || rmdir "$group" 2> /dev/null
	tracked=$(sed -n 's/^ *"open": \([0-9]*\).*/\1/p' "$work/ports.json" 2> /dev/null | sort -n | tail -n 1)
	[ "$bad" = 0 ] && [ -n "$rss" ] || { say "ports.memory: ebb ended too early: $(tail -n 1 "$out")"; return 1; }
	say "ports.memory: $HELD sockets of $((HELD / 800)) processes to $HELD_DESTINATIONS destinations ($tracked to the" \
		"last); exit code $ebb_status"
	say "ports.memory: MiB: peak RSS $(printf %.1f "$rss"), kernel ${charged:-?} charged to ebb's cgroup, $descriptors by" \
		"its descriptors; with nothing to follow: RSS $(printf %.1f "$idle_rss"), kernel ${idle:-?}"
	result ports.memory "$(awk -v a="$rss" -v b="${charged:-$descriptors}" 'BEGIN { print a + b }')" 1 max 64 MiB
}
