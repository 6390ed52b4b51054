#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# `ebb ports` where what is used and what there is are easily confused: ranges that changed, sockets with a range of their
# own, one address on two interfaces, connects that were given up, a process that ends while it is looked at.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
need_ebb

lab moved 40000-40999 && client moved moved && serve moved 10.77.0.2 8080 accept=hold || finish
lab mixed 40000-40999 && client mixed mixed && client narrow mixed && serve mixed 10.77.0.2 8080 accept=hold || finish
lab local 40000-40049 && client local local && serve local 10.77.0.2 8080 accept=hold || finish
lab gone 40000-40099 && client gone gone && client left gone && serve gone 10.77.0.2 8080 accept=hold || finish

# A second link between the two namespaces of a lab, with the link-local addresses of the first.
ip link add v1 netns "${NS[local]}" type veth peer name v1 netns "${NS[local-srv]}" || finish
for side in local local-srv; do
	for dev in v0 v1; do
		ip -n "${NS[$side]}" link set "$dev" up
		ip -n "${NS[$side]}" addr add "fe80::77:$([ $side = local ] && echo 1 || echo 2)/64" dev $dev nodad
	done
done
serve local :: 8081 accept=hold || finish

# 150 ports of a range that is no longer: none of the new one is used by them
does edges.lab.moved moved 'connect 10.77.0.2 8080 n=150 close=never' ok=150
set_range moved 41000-41099
attached_or_fail edges.attach look ports -f json || finish

does edges.lab.moved-new moved 'connect 10.77.0.2 8080 n=5 close=never' ok=5
does edges.lab.mixed mixed 'connect 10.77.0.2 8080 n=100 close=never' ok=100
does edges.lab.narrow narrow 'connect 10.77.0.2 8080 n=8 way=range lrange=40500-40510 close=never' ok=8

# 35 connections to the same link-local address by each interface, of 50 ports
start locals nsenter --net="/run/netns/${NS[local]}" "$PYTHON" -c '
import socket, sys, time
held = []
for dev in "v0", "v1":
    for i in range(35):
        s = socket.socket(socket.AF_INET6)
        s.connect(("fe80::77:2", 8081, 0, socket.if_nametoindex(dev)))
        held.append(s)
print(len(held), flush=True)
time.sleep(60)'
await locals '^70$' 20
is edges.lab.link-local "$(cat "${OUT[locals]}")" 70

# five connects from a port of their own that are given up before anybody answers; and a socket that connects to itself
within_ns local "$PYTHON" -c '
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
for i in range(5):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("10.77.0.1", 20000 + i))
    s.setblocking(False)
    try: s.connect(("10.77.0.9", 9))
    except BlockingIOError: pass
    assert libc.connect(s.fileno(), bytes(16), 16) == 0
    s.close()
s = socket.socket()
s.bind(("10.77.0.1", 20100))
s.connect(("10.77.0.1", 20100))
assert s.getsockname() == s.getpeername()
s.close()' || not_ok edges.lab.given-up "the client failed"

# A process that ends while its destinations are looked at.
does edges.lab.gone gone 'connect 10.77.0.2 8080 n=95 close=never' ok=95
does edges.lab.left left 'connect 10.77.0.2 8080 n=3 close=never' ok=3
attached_or_fail edges.gone.attach pid ports "${PID[left]}" -f json || finish
left=${PID[left]}
tell left 'connect 10.77.0.2 8080 n=1 close=never' && await left '^connect .*ok=1'
stop left TERM
tick 2
stop pid
is edges.gone.status "$STATUS" 0
json_is edges.gone "$WORK/pid.out" <<END
visible ns("gone")["visited"] and not ns("gone")["gone"]
used d("gone")["used"] == some(95, 96, 97, 98, 99)
alarm d("gone")["alarm"] == some("high", "filling", "exhausted")
both has(d("gone"), ${PID[gone]}) and has(d("gone"), $left)
ended process(o(d("gone"), $left), $left)["exited"] == True
END

tick 2
stop look
is edges.status "$STATUS" 0
json_is edges "$WORK/look.out" <<END
moved.used d("moved")["used"] == 5
moved.open d("moved")["open"] == 155
moved.usable d("moved")["usable"] == 100
moved.alarm d("moved")["alarm"] == "fine"
mixed.usable d("mixed")["usable"] == 1000
mixed.used d("mixed")["used"] == 108
mixed.alarm d("mixed")["alarm"] == "fine"
link-local.two len([x for x in dests("local") if x["port"] == 8081]) == 2
link-local.used [x["used"] for x in dests("local") if x["port"] == 8081] == [35, 35]
link-local.name [bool(re.match("fe80::77:2%[0-9]+$", x["remote"])) for x in dests("local") if x["port"] == 8081] == [True, True]
given-up.aborted d("local", "10.77.0.9", 9)["aborted"] == 5
given-up.collisions d("local", "10.77.0.9", 9)["collisions"] == 0
self.established d("local", "10.77.0.1", 20100)["established"] == 1
END
finish
