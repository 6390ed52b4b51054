#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
# `ebb ports`: each way to run out of ports and each way to fail, with 32 ports and a known answer; the forms of output.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
need_ebb

RANGE=40000-40031

for name in plain bind reuseaddr reuseport held listen explicit ranged udp autobind; do
	lab $name $RANGE && client $name $name && serve $name 10.77.0.2 8080 accept=hold || finish
done
lab reserved $RANGE 40000-40015 && client reserved reserved && serve reserved 10.77.0.2 8080 accept=hold || finish
lab fails 32768-60999 && client fails fails && client lost fails && serve fails 10.77.0.2 8080 || finish
serve plain 10.77.0.2 8081 accept=hold n=5 && serve plain 10.77.0.3 8080 accept=hold &&
	serve plain fd00:77::2 8080 accept=hold && serve bind 10.77.0.3 8080 accept=hold || finish
serve fails 10.77.0.2 8081 accept=first && serve fails 10.77.0.2 8082 accept=reset || finish

attached_or_fail ports.attach one ports -v -f json -i 1s || finish
attached_or_fail ports.attach-all all ports --bind --udp --exact-time-wait -f json -i 1s || finish

# --- failures that are none of ports (the slow ones first, in the background) ---
tell fails 'connect 10.77.0.9 8080 n=3 timeout=500'
tell lost 'connect 10.77.0.200 8080 n=2'

# --- a port that is taken towards the destination ---
does ports.lab.explicit explicit 'connect 10.77.0.2 8080 n=3 way=explicit lport=40005 from=10.77.0.1 close=never' \
	ok=1 EADDRNOTAVAIL=2 bind:EADDRINUSE=0

# --- 32 for each destination, whatever the way, when connect() chooses ---
does ports.lab.plain plain 'connect 10.77.0.2 8080 n=40 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.port plain 'connect 10.77.0.2 8081 n=40 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.address plain 'connect 10.77.0.3 8080 n=40 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.ipv6 plain 'connect fd00:77::2 8080 n=40 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.noport plain 'connect 10.77.0.2 8082 n=40 way=noport from=10.77.0.1 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.nonblock plain 'connect 10.77.0.2 8083 n=40 way=nonblock close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.again plain 'connect 10.77.0.2 8084 n=40 way=again again=9 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.mapped plain 'connect ::ffff:10.77.0.2 8085 n=40 close=never' ok=32 EADDRNOTAVAIL=8
does ports.lab.second plain 'connect 10.77.0.2 8080 n=40 way=noport from=10.77.0.5 close=never' ok=32 EADDRNOTAVAIL=8

# --- 32 in total for a local address, when bind() does ---
does ports.lab.bind bind 'connect 10.77.0.2 8080 n=20 way=bind from=10.77.0.1 close=never' ok=20 fail=0
does ports.lab.bind-rest bind 'connect 10.77.0.3 8080 n=20 way=bind from=10.77.0.1 close=never' ok=12 bind:EADDRINUSE=8
does ports.lab.bind-second bind 'connect 10.77.0.2 8080 n=40 way=bind from=10.77.0.5 close=never' ok=32 bind:EADDRINUSE=8
for way in reuseaddr reuseport; do
	does ports.lab.$way $way "connect 10.77.0.2 8080 n=40 way=$way from=10.77.0.1 close=never" ok=32 bind:EADDRINUSE=8
done

# --- what takes ports away from all destinations ---
does ports.lab.held-bind held 'bind tcp 10.77.0.1 0 n=32' ok=32
does ports.lab.held held 'connect 10.77.0.2 8080 n=5 close=never' ok=0 EADDRNOTAVAIL=5
does ports.lab.listen-on listen 'listen 10.77.0.1 40010' ok=1
does ports.lab.listen listen 'connect 10.77.0.2 8080 n=40 close=never' ok=31 EADDRNOTAVAIL=9
does ports.lab.reserved reserved 'connect 10.77.0.2 8080 n=40 close=never' ok=16 EADDRNOTAVAIL=24
does ports.lab.ranged ranged 'connect 10.77.0.2 8080 n=12 way=range lrange=40004-40011 close=never' ok=8 EADDRNOTAVAIL=4

# --- UDP has ports of its own ---
does ports.lab.udp udp 'bind udp 10.77.0.1 0 n=40' ok=32 bind:EADDRINUSE=8
does ports.lab.udp-tcp udp 'connect 10.77.0.2 8080 n=3 close=never' ok=3
does ports.lab.autobind autobind 'send 10.77.0.2 53 n=40' ok=32 EAGAIN=8

# --- each way to fail or to end ---
does ports.lab.lost lost 'drop' fail=0
is ports.lab.unreachable "$(awk '/^connect / { print $4 }' "${OUT[lost]}")" EHOSTUNREACH=2
does ports.lab.timeout fails 'drop' fail=0
is ports.lab.timed-out "$(awk '/^connect / { print $4 }' "${OUT[fails]}")" ETIMEDOUT=3
does ports.lab.refused fails 'connect 10.77.0.2 9 n=7' ok=0 ECONNREFUSED=7
does ports.lab.abort fails 'connect 10.77.0.9 81 n=5 way=abort' ok=0 EINPROGRESS=5
does ports.lab.no-route fails 'connect 192.0.2.1 80 n=4' ok=0 ENETUNREACH=4
does ports.lab.first fails 'connect 10.77.0.2 8080 n=50' ok=50
does ports.lab.by-peer fails 'connect 10.77.0.2 8081 n=10 close=server' ok=10
ask fails 'connect 10.77.0.2 8082 n=6 close=server' '^connect '
serve fails 10.77.0.3 8080
does ports.lab.reset-by-us fails 'connect 10.77.0.3 8080 n=6 close=reset' ok=6

# --- a range that changes ---
set_range bind 40000-40063 40000-40007
tick 2.5

for run in one all; do
	stop $run TERM
	is ports.$run.status "$STATUS" 0
	says_not ports.$run.lost "$WORK/$run.err" 'lost'
	json_is "ports.$run" "$WORK/$run.out" <<-EXPECT
	command doc["command"] == "ports"
	nothing-lost [x for x in doc["losses"] if x["count"]] == []
	exact doc["exact_time_wait"] == $([ $run = all ] && echo True || echo False)
	explicit.collisions d("explicit")["collisions"] == 2
	explicit.exhausted d("explicit")["exhausted"] == 0
	explicit.used d("explicit")["used"] == 1
	explicit.usable d("explicit")["usable"] == 32
	explicit.alarm d("explicit")["alarm"] == "fine"
	explicit.verdict "collides" in d("explicit")["verdicts"]
	plain.range ns("plain")["range"] == [40000, 40031]
	plain.visited ns("plain")["visited"] == True
	plain.reuse ns("plain")["tcp_tw_reuse"] == 0
	plain.usable-all ns("plain")["usable"] == 32
	plain.held ns("plain")["held"] == 0
	plain.owner o(d("plain", local="10.77.0.1"), ${PID[plain]})["exhausted"] == 8
	plain.owner-open o(d("plain", local="10.77.0.1"), ${PID[plain]})["open"] == 32
	plain.stack "connect_plain" in o(d("plain", local="10.77.0.1"), ${PID[plain]})["stack"]
	plain.first-failure o(d("plain", local="10.77.0.1"), ${PID[plain]})["first_failure"] == like("^20..-..-..T..:..:..Z")
	plain.established d("plain", local="10.77.0.1")["states"]["established"] == 32
	plain.attempts d("plain", local="10.77.0.1")["attempts"] == 40
	plain.connected d("plain", local="10.77.0.1")["established"] == 32
	plain.many-open "many-open" in d("plain", local="10.77.0.1")["verdicts"]
	plain.since d("plain", local="10.77.0.1")["since"] == like("^20..-..-..T..:..:..Z")
	again.refused d("plain", port=9)["refused"] == 40
	again.refused-fine d("plain", port=9)["exhausted"] == 0
	held.usable-all ns("held")["usable"] == 0
	held.held ns("held")["held"] == 32
	held.usable d("held")["usable"] == 0
	held.exhausted d("held")["exhausted"] == 5
	held.used d("held")["used"] == 0
	held.verdict "range-held" in d("held")["verdicts"]
	listen.listening ns("listen")["listening"] == 1
	listen.held ns("listen")["held"] == 1
	listen.usable d("listen")["usable"] == 31
	listen.used d("listen")["used"] == 31
	listen.exhausted d("listen")["exhausted"] == 9
	reserved.reserved ns("reserved")["reserved"] == 16
	reserved.usable d("reserved")["usable"] == 16
	reserved.used d("reserved")["used"] == 16
	reserved.exhausted d("reserved")["exhausted"] == 24
	ranged.usable d("ranged")["usable"] == 8
	ranged.used d("ranged")["used"] == 8
	ranged.exhausted d("ranged")["exhausted"] == 4
	ranged.namespace ns("ranged")["usable"] == 32
	udp.tcp d("udp")["usable"] == 32
	udp.tcp-used d("udp")["used"] == 3
	bind.range ns("bind")["range"] == [40000, 40063]
	bind.reserved ns("bind")["reserved"] == 8
	bind.exhausted d("bind", local="10.77.0.1")["exhausted"] == 0
	bind.used d("bind", local="10.77.0.1")["used"] == 20
	reuseaddr.used d("reuseaddr")["used"] == 32
	reuseaddr.usable d("reuseaddr")["usable"] == 32
	reuseaddr.verdict "bound" in d("reuseaddr")["verdicts"]
	reuseport.verdict "bound" in d("reuseport")["verdicts"]
	fails.timed-out d("fails", "10.77.0.9")["timed_out"] == 3
	fails.unreachable d("fails", "10.77.0.200")["failed_other"] == 2
	fails.refused d("fails", port=9)["refused"] == 7
	fails.refused-alarm d("fails", port=9)["alarm"] == "fine"
	fails.aborted d("fails", "10.77.0.9", 81)["aborted"] == 5
	fails.no-route [d for d in dests("fails") if d["remote"] == "192.0.2.1"] == []
	fails.first d("fails")["closed_first"] == 50
	fails.first-peer d("fails")["closed_by_peer"] == 0
	fails.first-alarm d("fails")["alarm"] == "fine"
	fails.by-peer d("fails", port=8081)["closed_by_peer"] == 10
	fails.by-peer-first d("fails", port=8081)["closed_first"] == 0
	fails.by-peer-tw d("fails", port=8081)["time_wait"] == 0
	fails.by-peer-verdict "client-closes-first" not in d("fails", port=8081)["verdicts"]
	fails.reset d("fails", port=8082)["closed_hard"] + d("fails", port=8082)["reset"] == 6
	fails.reset-by-us d("fails", "10.77.0.3")["closed_hard"] == 6
	fails.reset-by-us-tw d("fails", "10.77.0.3")["time_wait"] == 0
	fails.never-exhausted sum(d["exhausted"] + d["collisions"] for d in dests("fails")) == 0
	fails.median d("fails")["median_life_ms"] < 100
	EXPECT
	for row in port:8081 noport:8082 nonblock:8083 again:8084 mapped:8085; do
		json_is "ports.$run.${row%:*}" "$WORK/$run.out" <<-EXPECT
		usable d("plain", port=${row#*:})["usable"] == 32
		used d("plain", port=${row#*:})["used"] == 32
		exhausted d("plain", port=${row#*:})["exhausted"] == 8
		collisions d("plain", port=${row#*:})["collisions"] == 0
		alarm d("plain", port=${row#*:})["alarm"] == "exhausted"
		EXPECT
	done
	for row in plain:10.77.0.2:10.77.0.1 second:10.77.0.2:10.77.0.5 address:10.77.0.3:10.77.0.1; do
		IFS=: read -r name remote local <<<"$row"
		json_is "ports.$run.$name" "$WORK/$run.out" <<-EXPECT
		usable d("plain", "$remote", local="$local")["usable"] == 32
		used d("plain", "$remote", local="$local")["used"] == 32
		exhausted d("plain", "$remote", local="$local")["exhausted"] == 8
		alarm d("plain", "$remote", local="$local")["alarm"] == "exhausted"
		EXPECT
	done
	json_is "ports.$run.ipv6" "$WORK/$run.out" <<-EXPECT
	usable d("plain", "fd00:77::2")["usable"] == 32
	used d("plain", "fd00:77::2")["used"] == 32
	exhausted d("plain", "fd00:77::2")["exhausted"] == 8
	EXPECT
done
json_is ports.bind "$WORK/all.out" <<-EXPECT
first pool("bind", "10.77.0.1")["failed"] == 8
second pool("bind", "10.77.0.5")["failed"] == 8
used pool("bind", "10.77.0.1")["used"] >= 24
usable pool("bind", "10.77.0.1")["usable"] == 56
reuseaddr.used pool("reuseaddr", "10.77.0.1")["used"] == 32
reuseaddr.usable pool("reuseaddr", "10.77.0.1")["usable"] == 32
reuseaddr.failed pool("reuseaddr", "10.77.0.1")["failed"] == 8
reuseport.used pool("reuseport", "10.77.0.1")["used"] == 32
reuseport.failed pool("reuseport", "10.77.0.1")["failed"] == 8
udp.used pool("udp", "10.77.0.1", "udp_pools")["used"] == 32
udp.usable pool("udp", "10.77.0.1", "udp_pools")["usable"] == 32
udp.failed pool("udp", "10.77.0.1", "udp_pools")["failed"] == 8
autobind.used max(p["used"] for p in ns("autobind")["udp_pools"]) == 32
autobind.failed sum(p["failed"] for p in ns("autobind")["udp_pools"]) == 8
udp.not-tcp sum(p["failed"] for p in ns("udp")["bind_pools"]) == 0
EXPECT

# --- failures as they happen ---
says ports.events.exhausted "$WORK/one.err" "no port left: portlab\\[${PID[plain]}\\] .*10\\.77\\.0\\.2:808[0-5].*EADDRNOTAVAIL"
says ports.events.taken "$WORK/one.err" "port taken: portlab\\[${PID[explicit]}\\] 10\\.77\\.0\\.1:40005 .*10\\.77\\.0\\.2:8080"
says_not ports.events.asked "$WORK/all.err" 'no port left'

# --- a look that begins after all of it: the sockets are found with their owners ---
ebb_run late ports --netns "/run/netns/${NS[plain]}" -d 2s -f json
is ports.netns.status "$STATUS" 0
json_is ports.netns "$WORK/late.out" <<-EXPECT
only sorted(set(x["namespace_name"] for x in doc["destinations"])) == ["${NS[plain]}"]
used d("plain", local="10.77.0.1")["used"] == 32
usable d("plain", local="10.77.0.1")["usable"] == 32
alarm d("plain", local="10.77.0.1")["alarm"] == "exhausted"
owner o(d("plain", local="10.77.0.1"), ${PID[plain]})["open"] == 32
unowned d("plain", local="10.77.0.1")["unowned"] == 0
mapped d("plain", port=8085)["used"] == 32
ipv6 d("plain", "fd00:77::2")["used"] == 32
EXPECT
ebb_run late ports --netns "${PID[listen]}" -d 2s -f json
json_is ports.netns-pid "$WORK/late.out" <<-EXPECT
only sorted(set(x["namespace_name"] for x in doc["destinations"])) == ["${NS[listen]}"]
usable d("listen")["usable"] == 31
EXPECT
ebb_run late ports --dest 10.77.0.2:8081 --netns "/run/netns/${NS[plain]}" -d 2s -f json
json_is ports.dest "$WORK/late.out" <<-EXPECT
only [(x["remote"], x["port"]) for x in doc["destinations"]] == [("10.77.0.2", 8081)]
EXPECT
ebb_run late ports --dest '[fd00:77::2]:8080' -d 2s -f json
json_is ports.dest-ipv6 "$WORK/late.out" <<-EXPECT
only set((x["remote"], x["port"]) for x in doc["destinations"]) == {("fd00:77::2", 8080)}
EXPECT
ebb_run late ports --dest :8081 --netns "/run/netns/${NS[plain]}" -d 2s -f json
json_is ports.dest-port "$WORK/late.out" <<-EXPECT
only set((x["remote"], x["port"]) for x in doc["destinations"]) == {("10.77.0.2", 8081)}
EXPECT
client other plain
ask other 'connect 10.77.0.3 8080 n=2' '^connect '
ebb_run late ports "${PID[plain]}" -d 2s -f json
is ports.pid.status "$STATUS" 0
json_is ports.pid "$WORK/late.out" <<-EXPECT
only sorted(set(x["namespace_name"] for x in doc["destinations"])) == ["${NS[plain]}"]
used d("plain", port=8081)["used"] == 32
EXPECT
stop other TERM

# --- the table ---
ebb_run table ports --netns "/run/netns/${NS[plain]}" -d 3s -i 1s
is ports.table.status "$STATUS" 0
says ports.table.head "$WORK/table.out" "^ *ports +netns ${NS[plain]} · 32 usable a destination · .*lost 0"
says ports.table.columns "$WORK/table.out" '^ *(DESTINATION|LOCAL → REMOTE) .*STATE +USED +NEW/s +MAX/s +FAILED/s'
says ports.table.row "$WORK/table.out" '^ *(10\.77\.0\.1 → )?10\.77\.0\.2:8081 .*EXHAUSTED.* 32 +100%'
says ports.table.owner "$WORK/table.out" "portlab\\[${PID[plain]}\\]"
says ports.table.nat "$WORK/table.out" '^ *NAT beyond this host: not visible'
says ports.table.next "$WORK/table.out" '^ *next:'
check ports.table.plain "escape sequences without a terminal" eval "! grep -q $'\\x1b' '$WORK/table.out'"

# --- folded ---
good=y
for value in connections failures time-wait-seconds; do
	attached_or_fail ports.folded.$value.attach $value ports --netns "/run/netns/${NS[ranged]}" -f folded --value $value || good=
done
if [ -n "$good" ]; then
	serve ranged 10.77.0.2 8090
	# At this rate each connect's stack is taken.
	does ports.lab.folded-plain ranged 'connect 10.77.0.2 8090 n=20 rate=40' ok=20
	does ports.lab.folded-noport ranged 'connect 10.77.0.2 8090 n=15 rate=40 way=noport from=10.77.0.1' ok=12 EADDRNOTAVAIL=3
	tick 1.5
	for value in connections failures time-wait-seconds; do
		stop $value
		is ports.folded.$value.status "$STATUS" 0
		check ports.folded.$value.valid "not folded stacks" folded_valid "$WORK/$value.out" || show "$WORK/$value.out"
		check ports.folded.$value.comm "a line does not begin with the process's name" \
			awk '!/^portlab;/ { bad = 1 } END { exit bad || !NR }' "$WORK/$value.out"
	done
	is ports.folded.connections.plain "$(folded_sum "$WORK/connections.out" connect_plain)" 20
	is ports.folded.connections.noport "$(folded_sum "$WORK/connections.out" connect_noport)" 12 15
	is ports.folded.failures.plain "$(folded_sum "$WORK/failures.out" connect_plain)" 0
	is ports.folded.failures.noport "$(folded_sum "$WORK/failures.out" connect_noport)" 3
	check ports.folded.time-wait.plain "no TIME_WAIT of connect_plain" \
		test "$(folded_sum "$WORK/time-wait-seconds.out" connect_plain)" -gt 0
fi
finish
