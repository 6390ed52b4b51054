#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# ebb doctor: what it says of this machine and of processes agrees with what ebb leak then does.
. "$(dirname "$0")/lib.sh"
need_ebb

# state FILE NAME: what the table says of a check.
state() { awk -v name="$2" 'index($0, name "  ") == 1 { sub(/^.*  +(ok|note|unknown|problem)  .*$/, "&"); for (i = 1; i <= NF; i++) if ($i ~ /^(ok|note|unknown|problem)$/) { print $i; exit } }' "$1"; }

ebb_run machine doctor
is doctor.machine.status "$STATUS" 0 || show "$WORK/machine.out"
for name in kernel privileges BTF attaching memory; do is "doctor.machine.$name" "$(state "$WORK/machine.out" "$name")" ok; done
says doctor.machine.price "$WORK/machine.out" 'a trap costs [0-9]+ ns'
says doctor.machine.next "$WORK/machine.out" '^ *next: sudo ebb leak PID'

# A process that leak can look at; its file is gone, it has a child, and namespaces of its own.
cp "$PROGRAMS/forks" "$WORK/gone" && start gone unshare -m -n "$WORK/gone"
await gone '^ready' || finish
rm "$WORK/gone"
ask gone 'stay 10' '^child'
ebb_run good doctor "${PID[gone]}"
is doctor.good.status "$STATUS" 0 || show "$WORK/good.out"
for name in dangers seccomp allocator sites namespaces "its memory" "its descriptors" children; do
	is "doctor.good.${name// /-}" "$(state "$WORK/good.out" "$name")" ok
done
is doctor.good.deleted "$(state "$WORK/good.out" 'its file')" note
says doctor.good.namespaces "$WORK/good.out" 'its own: mnt, net'
says doctor.good.next "$WORK/good.out" "next: sudo ebb leak ${PID[gone]}"
ask gone reap '^ok reap'

# For programs.
ebb_run json doctor "${PID[gone]}" -f json
is doctor.json.status "$STATUS" 0
check doctor.json.valid "no JSON, or not what the manual says" python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["command"] == "doctor" and d["possible"] is True
names = [c["name"] for c in d["checks"]]
assert "kernel" in names and "sites" in names
assert all(c["state"] in ("ok", "note", "unknown", "problem") and c["found"] for c in d["checks"])
' "$WORK/json.out"
stop gone TERM

# agrees NAME REGEX COMMAND…: doctor and leak refuse the process for the same reason.
agrees() {
	local name=doctor.$1 regex=$2
	shift 2
	start bad "$@"
	await bad '^ready' || { not_ok "$name" "it did not start"; return; }
	ebb_run doctor doctor "${PID[bad]}"
	is "$name.doctor" "$STATUS" 4
	says "$name.doctor.why" "$WORK/doctor.out" "$regex"
	ebb_run leak leak "${PID[bad]}" -d 1s
	is "$name.leak" "$STATUS" 4
	says "$name.leak.why" "$WORK/leak.err" "$regex"
	stop bad TERM
}
agrees stripped 'stripped' "$PROGRAMS/allocs-static-stripped"
agrees profiler "allocator's own profiler" env MALLOC_CONF=prof:true LD_PRELOAD="$(ls /usr/lib/*/libjemalloc.so.2 2>/dev/null)" "$PROGRAMS/allocs"

# Without privileges: it says what is missing, and that nothing goes without.
cp "$EBB" "$WORK/ebb" && chmod 755 "$WORK/ebb"
start nobody setpriv --reuid 65534 --regid 65534 --clear-groups "$WORK/ebb" doctor
wait_end nobody
is doctor.nobody.status "$STATUS" 4
says doctor.nobody.privileges "$WORK/nobody.out" '^privileges +note +without CAP_BPF'
says doctor.nobody.todo "$WORK/nobody.out" 'run ebb as root'

ebb_run two doctor 1 2
is doctor.two "$STATUS" 2
ebb_run none doctor no-such-process-here
is doctor.none "$STATUS" 2 1
ebb_run self doctor $$ -f xml
is doctor.format "$STATUS" 2
finish
