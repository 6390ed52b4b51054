#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# ebb leaves a trace of itself in syslog, and keeps no privilege that it does not need any more; what it still has to do then
# works all the same: names of code that is loaded later, its probes, growing, detaching.
. "$(dirname "$0")/lib.sh"
need_ebb
command -v python3 >/dev/null || { skip privileges "there is no python3"; finish; }

# A logger of our own: a mount namespace with another /dev, whose log is a socket that writes to a file.
cat >"$WORK/logger.py" <<'PY'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("ready", flush=True)
while True:
    print(s.recv(4096).decode(errors="replace").rstrip("\0"), flush=True)
PY
mkdir "$WORK/dev" && cp -a /dev/null /dev/zero /dev/urandom /dev/tty "$WORK/dev/" 2>/dev/null
start logger python3 "$WORK/logger.py" "$WORK/dev/log"
await logger '^ready' || finish
private() { printf '%s\n' unshare -m sh -c 'mount --make-rprivate / && mount --bind "$0" /dev && exec "$@"' "$WORK/dev"; }
mapfile -t PRIVATE < <(private)

start plugins "$PROGRAMS/plugins"
await plugins '^ready' || finish
pid=${PID[plugins]}
start leak "${PRIVATE[@]}" "$EBB" leak "$pid" -f folded --max-overhead none
until_true 20 grep -q '^attached' "${ERR[leak]}" || { not_ok privileges.attach "ebb did not attach"; finish; }
check privileges.syslog.attached "nothing in syslog" until_true 5 grep -Eq "<29>.*ebb\[${PID[leak]}\]: leak: attached to process $pid \(plugins\) by uid $(id -u)" "${OUT[logger]}"

status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/${PID[leak]}/status"; }
# CAP_SYS_ADMIN is 21, CAP_NET_ADMIN 12, CAP_SYS_MODULE 16; CAP_BPF is 39, CAP_PERFMON 38.
has() { [ $(((0x$(status "$1") >> $2) & 1)) = 1 ]; }
for set in CapEff CapPrm; do
	check privileges.$set.bpf "CAP_BPF is gone: it could not go on" has $set 39
	for cap in 12 16; do check privileges.$set.$cap "it has kept capability $cap" eval "! has $set $cap"; done
done
# kept at hand for perf events on uprobes, not in force
check privileges.admin "CAP_SYS_ADMIN is in force, or gone" eval "! has CapEff 21 && has CapPrm 21"
is privileges.no-new "$(status NoNewPrivs)" 1
is privileges.core "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/${PID[leak]}/limits")" "0 0"

# What it still has to do.
ask plugins "use $PROGRAMS/plugin-own.so 40 500" '^used'
check privileges.more "no probes in what was loaded" grep -q 'more sites' "${ERR[leak]}"
ask plugins "use $PROGRAMS/plugin-red.so 5 500" '^used'
stop leak
is privileges.status "$STATUS" 0 || show "${ERR[leak]}"
says privileges.names "${OUT[leak]}" ';red_inner [0-9]+$'
check privileges.syslog.detached "nothing in syslog" until_true 5 grep -Eq "leak: detached from process $pid \(plugins\) after [0-9.]+ ?m?s" "${OUT[logger]}"

# The same of ports, which enters namespaces and keeps what that takes.
start ports "${PRIVATE[@]}" "$EBB" ports -d 2s -f json
until_true 20 grep -q 'ports: attached to the whole machine' "${OUT[logger]}"
kept() { local eff; eff=$(awk '/^CapEff/ { print $2 }' "/proc/${PID[ports]}/status"); [ $(((0x$eff >> 21) & 1)) = 1 ] && [ $(((0x$eff >> 16) & 1)) = 0 ]; }
check privileges.ports "not what it needs" kept
wait_end ports
is privileges.ports.status "$STATUS" 0 3

# A logger that is not there, or hangs, changes nothing.
stop logger KILL
start leak "${PRIVATE[@]}" "$EBB" leak "$pid" -d 500ms -f folded --max-overhead none
wait_end leak
is privileges.deaf "$STATUS" 0
stop plugins TERM
finish
