#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# ebb mem in a memory cgroup of 64 MB: how far its limit is, when it is reached, and who was killed in it before.
. "$(dirname "$0")/lib.sh"
need_ebb

# The hierarchy of memory: version 1's, else version 2's.
mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
limit=memory.limit_in_bytes own=$(awk -F: '$2 ~ /(^|,)memory(,|$)/ { sub(/^[^:]*:[^:]*:/, ""); print }' /proc/self/cgroup)
if [ -z "$mount" ]; then
	mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	limit=memory.max own=$(sed -n 's/^0:://p' /proc/self/cgroup)
	grep -qw memory "$mount$own/cgroup.subtree_control" 2>/dev/null || own=
fi
name=ebb-mem-$$
group=$mount${own%/}/$name
mkdir "$group" 2>/dev/null && [ -w "$group/$limit" ] || { rmdir "$group" 2>/dev/null; skip mem_limit "no memory cgroup can be made here"; finish; }
HOOKS+=("rmdir $group")
echo $((64 << 20)) >"$group/$limit" || { skip mem_limit "no limit can be set here"; finish; }
INSIDE=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group")

# --- how far it is, while nothing grows ---
start parts "${INSIDE[@]}" "$PROGRAMS/parts"
await parts '^ready' || finish
pid=${PID[parts]}
ask parts 'anon 4096' '^ok'
"$EBB" mem "$pid" --no-color >"$WORK/still.out" 2>"$WORK/still.err"
is mem_limit.still.status $? 0
says mem_limit.still "$WORK/still.out" "^cgroup .*$name: limit 64 MiB, 1[6-9] MiB used by all in it .*, 4[5-8] MiB left\$"
says_not mem_limit.not-killed "$WORK/still.out" 'in its cgroup the kernel has killed'

# --- when it is reached ---
"$EBB" mem "$pid" -d 1500ms -i 150ms --no-color >"$WORK/grows.out" 2>"$WORK/grows.err" &
looking=$!
for _ in $(seq 25); do ask parts 'anon 256' '^ok'; tick 0.05; done
wait "$looking"
says mem_limit.grows "$WORK/grows.out" "MiB left: reached at this process's rate in ≈[0-9]+ s"

# --- it is reached: the next one in this cgroup says so ---
tell parts 'anon 20000'
wait_end parts 20
is mem_limit.killed "$STATUS" 137
start next "${INSIDE[@]}" "$PROGRAMS/parts"
await next '^ready' || finish
"$EBB" mem "${PID[next]}" --no-color >"$WORK/next.out" 2>"$WORK/next.err"
if [ -r "$group/memory.events" ] || grep -q '^oom_kill ' "$group/memory.oom_control" 2>/dev/null; then
	says mem_limit.count "$WORK/next.out" 'in its cgroup the kernel has killed 1 process for lack of memory'
else
	skip mem_limit.count "this kernel does not count kills of a cgroup"
fi
if dmesg 2>/dev/null | grep -q "Killed process $pid "; then
	says mem_limit.who "$WORK/next.out" "^parts\[$pid\] was killed for lack of memory [0-9.ms]+ ago, with [0-9]+ MiB: the limit of cgroup .*$name\$"
else
	skip mem_limit.who "the kernel's log does not say it here"
fi
stop next
finish
