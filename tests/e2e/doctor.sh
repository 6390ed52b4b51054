#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# beside: waiting
# ebb doctor: what it says of this machine and of processes agrees with what ebb leak then does.
. "$(dirname "$0")/lib.sh"
need_ebb

# state FILE NAME: what the table says of a check.
state() { awk -v name="$2" 'index($0, name "  ") == 1 { sub(/^.*  +(ok|note|unknown|problem)  .*$/, "&"); for (i = 1; i <= NF; i++) if ($i ~ /^(ok|note|unknown|problem)$/) { print $i; exit } }' "$1"; }

ebb_run machine doctor
is doctor.machine.status "$STATUS" 0 || show "$WORK/machine.out"
for name in kernel privileges BTF attaching "ring buffer" tracepoints memory; do
	is "doctor.machine.${name// /-}" "$(state "$WORK/machine.out" "$name")" ok
done
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
assert all(name in names for name in ("kernel", "attaching", "ring buffer", "tracepoints", "sites"))
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
for name in attaching "ring buffer" tracepoints; do
	is "doctor.nobody.${name// /-}" "$(state "$WORK/nobody.out" "$name")" problem
done

# With CAP_BPF alone: a ring buffer, and nothing to put into it. With CAP_PERFMON as well all is tried and found good.
# having NAME CAPABILITIES EXIT…: doctor as nobody with these.
having() {
	start "$1" setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps "$2" --ambient-caps "$2" "$WORK/ebb" doctor
	wait_end "$1"
	is "doctor.$1.status" "$STATUS" "${@:3}" || show "$WORK/$1.out"
}
having bpf +bpf 4
is doctor.bpf.ring "$(state "$WORK/bpf.out" 'ring buffer')" ok
is doctor.bpf.tracepoints "$(state "$WORK/bpf.out" tracepoints)" problem
says doctor.bpf.why "$WORK/bpf.out" '^tracepoints +problem +not permitted .*needs CAP_BPF and CAP_PERFMON'
having perfmon +bpf,+perfmon 0 4	# without a kernel that has uprobe.multi, perf events want more
is doctor.perfmon.ring "$(state "$WORK/perfmon.out" 'ring buffer')" ok
is doctor.perfmon.tracepoints "$(state "$WORK/perfmon.out" tracepoints)" ok

# One command of bpf(2) fails, as in a container that forbids it or on a kernel that has not got it: doctor says which part of
# ebb that is, and leak refuses in the same words.
cat >"$WORK/forbid.py" <<'END'
import ctypes, os, platform, struct, sys
command, error = int(sys.argv[1]), int(sys.argv[2])
bpf = {"x86_64": 321, "aarch64": 280}[platform.machine()]
insns = [(0x20, 0, 0, 0), (0x15, 0, 3, bpf), (0x20, 0, 0, 16), (0x15, 0, 1, command), (0x06, 0, 0, 0x50000 | error),
	 (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *insn) for insn in insns))
class Program(ctypes.Structure):
	_fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(22, 2, ctypes.byref(Program(len(insns), ctypes.addressof(code))), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[3], sys.argv[3:])
END
start allocs "$PROGRAMS/allocs"
await allocs '^ready' || finish
# forbidden NAME COMMAND ERRNO CHECK WHY TODO (regular expressions): and only that check fails.
forbidden() {
	local name=doctor.$1 other
	start doctor /usr/bin/python3 "$WORK/forbid.py" "$2" "$3" "$EBB" doctor "${PID[allocs]}"
	wait_end doctor
	is "$name.doctor" "$STATUS" 4 || show "$WORK/doctor.err"
	says "$name.why" "$WORK/doctor.out" "^$4 +problem +$5"
	says "$name.todo" "$WORK/doctor.out" "^ +→ $6"
	for other in BTF attaching "ring buffer" tracepoints sites; do
		[ "$other" = "$4" ] || is "$name.${other// /-}" "$(state "$WORK/doctor.out" "$other")" ok
	done
	start json /usr/bin/python3 "$WORK/forbid.py" "$2" "$3" "$EBB" doctor -f json
	wait_end json
	check "$name.json" "not the check that fails, or not what to do" python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
bad = [c for c in d["checks"] if c["state"] == "problem"]
assert d["possible"] is False and [c["name"] for c in bad] == [sys.argv[2]] and bad[0]["todo"], bad
' "$WORK/json.out" "$4"
	start leak /usr/bin/python3 "$WORK/forbid.py" "$2" "$3" "$EBB" leak "${PID[allocs]}" -d 1s
	wait_end leak
	is "$name.leak" "$STATUS" 4
	says "$name.leak.why" "$WORK/leak.err" "^ebb: $5"
}
# BPF_MAP_CREATE is 0, BPF_RAW_TRACEPOINT_OPEN 17
forbidden ring-forbidden 0 1 'ring buffer' 'not permitted to make a BPF ring buffer' 'run ebb as root'
forbidden ring-memory 0 12 'ring buffer' 'no memory for a BPF ring buffer' 'give the memory cgroup'
forbidden tracepoints-forbidden 17 1 tracepoints 'not permitted to attach to a raw tracepoint' 'run ebb as root'
forbidden tracepoints-missing 17 22 tracepoints 'no program can be attached to the raw tracepoint' 'use a kernel that is built with'
stop allocs TERM

ebb_run two doctor 1 2
is doctor.two "$STATUS" 2
ebb_run none doctor no-such-process-here
is doctor.none "$STATUS" 2 1
ebb_run self doctor $$ -f xml
is doctor.format "$STATUS" 2
finish
