#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# beside: waiting
# A memory cgroup of 64 MB: ebb does not eat what its target has left, and takes little where it has little itself.
. "$(dirname "$0")/lib.sh"
need_ebb
unset EBB_SAME_CGROUP

# The hierarchy of memory: version 1's, else version 2's.
mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
limit=memory.limit_in_bytes own=$(awk -F: '$2 ~ /(^|,)memory(,|$)/ { sub(/^[^:]*:[^:]*:/, ""); print }' /proc/self/cgroup)
if [ -z "$mount" ]; then
	mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	limit=memory.max own=$(sed -n 's/^0:://p' /proc/self/cgroup)
	grep -qw memory "$mount$own/cgroup.subtree_control" 2>/dev/null || own=
fi
group=$mount${own%/}/ebb-memory-$$
mkdir "$group" 2>/dev/null && [ -w "$group/$limit" ] || { rmdir "$group" 2>/dev/null; skip memory "no memory cgroup can be made here"; finish; }
HOOKS+=("rmdir $group")
echo $((64 << 20)) >"$group/$limit" || { skip memory "no limit can be set here"; finish; }
INSIDE=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group")

start server "${INSIDE[@]}" "$PROGRAMS/grow"
await server '^ready' || finish
pid=${PID[server]}
check memory.inside "the target is not in the cgroup" grep -qx "$pid" "$group/cgroup.procs" || finish

# ebb in the same cgroup: refused, and said why; not with --same-cgroup, and then it takes little.
start refused "${INSIDE[@]}" "$EBB" leak "$pid" -d 1s -f folded
wait_end refused
is memory.refused.status "$STATUS" 4
says memory.refused.why "$WORK/refused.err" 'memory cgroup of process.*64 MiB.*--same-cgroup'
start small "${INSIDE[@]}" "$EBB" leak "$pid" -d 1s -f folded -v --same-cgroup --max-overhead none
wait_end small
is memory.small.status "$STATUS" 0 || show "$WORK/small.err"
says memory.small.why "$WORK/small.err" "may take ([0-9]\.[0-9]|1[0-6]) MiB of kernel memory: a quarter of the room"

# ebb outside: nothing is in the way. Its own choice is the machine's; one of the user wins.
ebb_run outside leak "$pid" -d 1s -f folded -v --max-overhead none
is memory.outside.status "$STATUS" 0 || show "$WORK/outside.err"
says_not memory.outside.why "$WORK/outside.err" 'quarter of the room'
ebb_run chosen leak "$pid" -d 1s -f folded -v --max-memory 20M --max-overhead none
says memory.chosen "$WORK/chosen.err" 'may take 20 MiB of kernel memory: --max-memory'
ebb_run dry leak "$pid" --dry-run --max-memory 20M
says memory.dry "$WORK/dry.out" 'up to 20 MiB \(--max-memory\)'
check memory.alive "the target died" alive "$pid"
stop server TERM
finish
