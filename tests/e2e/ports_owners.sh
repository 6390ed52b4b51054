#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 200
# beside: waiting
# `ebb ports`: whose the ports are. The culprit has gone when the victim fails; sockets that nobody closes; sockets that
# two processes hold; namespaces that come and go.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
need_ebb

# Owners are told apart by their executable.
cp "$PROGRAMS/portlab" "$WORK/culprit"
cp "$PROGRAMS/portlab" "$WORK/victim"
cp "$PROGRAMS/portlab" "$WORK/leaker"

lab blame 40000-40199 && serve blame 10.77.0.2 8080 || finish
lab wait 32768-60999 && serve wait 10.77.0.2 8080 accept=first && serve wait 10.77.0.2 8081 accept=first &&
	serve wait 10.77.0.2 8082 accept=hold || finish
lab share 40000-40199 && serve share 10.77.0.2 8080 n=2 || finish
client old wait "$WORK/leaker" && client idle wait && client share share || finish
client healthy wait || finish

# --- before ebb: sockets whose peer has closed, and silent ones ---
does ports_owners.lab.old old 'connect 10.77.0.2 8080 n=20 close=never' ok=20
does ports_owners.lab.idle idle 'connect 10.77.0.2 8082 n=30 close=never' ok=30
idle_since_s=$SECONDS

attached_or_fail ports_owners.attach long ports -f json -i 1s || finish

# --- who used them up has ended before who fails begins ---
good=y
attached_or_fail ports_owners.blame.attach blame ports --netns "/run/netns/${NS[blame]}" -f json -i 1s || good=
attached_or_fail ports_owners.blame-table.attach table ports --netns "/run/netns/${NS[blame]}" -i 1s || good=
[ -n "$good" ] || finish
client culprit blame "$WORK/culprit" || finish
does ports_owners.lab.culprit culprit 'connect 10.77.0.2 8080 n=200' ok=200
culprit=${PID[culprit]}
tick 2.5
stop culprit TERM
client victim blame "$WORK/victim" || finish
does ports_owners.lab.victim victim 'connect 10.77.0.2 8080 n=50 rate=25' ok=0 EADDRNOTAVAIL=50
victim=${PID[victim]}
for run in blame table; do stop $run TERM; is ports_owners.$run.status "$STATUS" 0; done
json_is ports_owners.blame "$WORK/blame.out" <<-EXPECT
alarm d("blame")["alarm"] == "exhausted"
used d("blame")["used"] == 200
usable d("blame")["usable"] == 200
time-wait d("blame")["time_wait"] == 200
open d("blame")["open"] == 0
exhausted d("blame")["exhausted"] == 50
since d("blame")["since"] == like("^20")
next-back 45 < d("blame")["next_back_s"] <= 62
client-closes "client-closes-first" in d("blame")["verdicts"]
short-lived "short-lived" in d("blame")["verdicts"]
advice len(d("blame")["advice"]) > 0
culprit.role o(d("blame"), $culprit)["role"] == "culprit"
culprit.comm o(d("blame"), $culprit)["comm"] == "culprit"
culprit.exe o(d("blame"), $culprit)["exe"] == "$WORK/culprit"
culprit.exited process(o(d("blame"), $culprit), $culprit)["exited"] == True
culprit.time-wait o(d("blame"), $culprit)["time_wait"] == 200
culprit.held o(d("blame"), $culprit)["held_when_fullest"] == 200
culprit.attempts o(d("blame"), $culprit)["attempts"] == 200
culprit.closed o(d("blame"), $culprit)["closed_first"] == 200
culprit.exhausted o(d("blame"), $culprit)["exhausted"] == 0
culprit.stack "connect_plain" in o(d("blame"), $culprit)["stack"]
culprit.first-in-list $culprit in [p["pid"] for p in d("blame")["owners"][0]["processes"]]
victim.role o(d("blame"), $victim)["role"] == "victim"
victim.comm o(d("blame"), $victim)["comm"] == "victim"
victim.exited process(o(d("blame"), $victim), $victim)["exited"] == False
victim.exhausted o(d("blame"), $victim)["exhausted"] == 50
victim.held o(d("blame"), $victim)["held"] == 0
EXPECT
says ports_owners.table.row "$WORK/table.out" '^ *10\.77\.0\.2:8080 +EXHAUSTED [0-9:]{8} +200 +100%'
says ports_owners.table.culprit "$WORK/table.out" "^ *CULPRIT +culprit.* holds 200"
says ports_owners.table.victim "$WORK/table.out" "^ *victim +victim\\[$victim\\]"
says ports_owners.table.stack "$WORK/table.out" 'connect_plain'
says ports_owners.table.verdict "$WORK/table.out" 'client closes first'

# --- more of what nobody closes, and somebody who does it right beside ---
tell healthy 'connect 10.77.0.2 8081 n=50 rate=5 close=server'
start growing "$EBB" ports --netns "/run/netns/${NS[wait]}" -d 10s -i 1s -f json
await_err growing '^attached' 60
does ports_owners.lab.more old 'connect 10.77.0.2 8080 n=45 rate=5 close=never' ok=45
wait_end growing
json_is ports_owners.growing "$WORK/growing.out" <<-EXPECT
alarm d("wait")["alarm"] == some("leaking", "filling")
verdict "never-closed" in d("wait")["verdicts"]
role o(d("wait"), ${PID[old]})["role"] == "leaker"
healthy d("wait", port=8081)["alarm"] == "fine"
healthy-verdict d("wait", port=8081)["verdicts"] == []
EXPECT

# --- two processes hold the sockets: who connected is who has them ---
does ports_owners.lab.share share 'connect 10.77.0.2 8080 n=10 close=never' ok=10
ask share fork '^forked'
OTHERS+=("$(awk '/^forked/ { print $2 }' "${OUT[share]}")")
does ports_owners.lab.shared share 'connect 10.77.0.2 8081 n=5 close=never' ok=5
attached_or_fail ports_owners.shared.attach shared ports --netns "/run/netns/${NS[share]}" -f json && {
	tick 1.5
	stop shared TERM
	json_is ports_owners.shared-late "$WORK/shared.out" <<-EXPECT
	open sum(x["open"] for x in d("share")["owners"]) == 10
	unowned d("share")["unowned"] == 0
	EXPECT
}
does ports_owners.lab.drop share drop fail=0

# --- a namespace that is there for a moment, one that is gone at the end, and some without a name ---
lab brief 40000-40031 && serve brief 10.77.0.2 8080 && client brief brief || finish
does ports_owners.lab.brief brief 'connect 10.77.0.2 8080 n=10' ok=10
brief=${PID[brief]}
stop brief TERM
stop brief-srv TERM
netns_gone brief
netns_gone brief-srv
lab moment 40000-40031 && serve moment 10.77.0.2 8080 && client moment moment || finish
does ports_owners.lab.moment moment 'connect 10.77.0.2 8080 n=40 close=never' ok=32 EADDRNOTAVAIL=8
tick 2.5
stop moment KILL
stop moment-srv KILL
netns_gone moment
netns_gone moment-srv
for ((i = 0; i < 20; i++)); do
	printf 'listen 127.0.0.1 8080\nconnect 127.0.0.1 8080 n=5\n' |
		unshare -n sh -c 'ip link set lo up && exec "$0"' "$PROGRAMS/portlab" >>"$WORK/unnamed" 2>&1
done
is ports_owners.lab.unnamed "$(lines_cnt "$WORK/unnamed" '^connect ok=5')" 20
start unnamed unshare -n sh -c 'ip link set lo up && exec "$0"' "$PROGRAMS/portlab"
await unnamed '^ready' && ask unnamed 'listen 127.0.0.1 8080' '^listen '
does ports_owners.lab.stays unnamed 'connect 127.0.0.1 8080 n=5' ok=5

# What has been silent for a minute is shown so.
while ((SECONDS - idle_since_s < 64)); do tick 0.5; done
stop long TERM
is ports_owners.status "$STATUS" 0
json_is ports_owners "$WORK/long.out" <<-EXPECT
nothing-lost [x for x in doc["losses"] if x["count"]] == []
close-wait d("wait")["states"]["close_wait"] == 65
close-wait-owner o(d("wait"), ${PID[old]})["close_wait"] == 65
close-wait-old o(d("wait"), ${PID[old]})["oldest_close_wait_s"] == near($((SECONDS - idle_since_s)), 15)
close-wait-unowned d("wait")["unowned"] == 0
close-wait-time-wait d("wait")["time_wait"] == 0
close-wait-fds process(o(d("wait"), ${PID[old]}), ${PID[old]})["fds"] >= 65
close-wait-stack "connect_plain" in o(d("wait"), ${PID[old]})["stack"]
idle o(d("wait", port=8082), ${PID[idle]})["idle"] == 30
idle-age o(d("wait", port=8082), ${PID[idle]})["oldest_idle_s"] >= 60
idle-established d("wait", port=8082)["states"]["established"] == 30
healthy.closed d("wait", port=8081)["closed_by_peer"] == 50
healthy.alarm d("wait", port=8081)["alarm"] == "fine"
was.alarm d("blame")["alarm"] == "was-exhausted"
was.exhausted d("blame")["exhausted"] == 50
was.culprit o(d("blame"), $culprit)["held_when_fullest"] == 200
was.exited process(o(d("blame"), $culprit), $culprit)["exited"] == True
shared.owner [[p["pid"] for p in x["processes"]] for x in d("share")["owners"]] == [[${PID[share]}]]
shared.closed o(d("share"), ${PID[share]})["closed_first"] == 10
shared.time-wait o(d("share"), ${PID[share]})["time_wait"] == 10
shared.second o(d("share", port=8081), ${PID[share]})["time_wait"] == 5
moment.gone ns("moment")["gone"] == True
moment.exhausted d("moment")["exhausted"] == 8
moment.used d("moment")["used"] == 0
moment.used-max d("moment")["used_max"] == 32
# It was too short to be entered, so its name may be unknown.
brief [x["attempts"] for x in doc["destinations"] if has(x, $brief)] == [10]
unnamed.stays [x["attempts"] for x in doc["destinations"] if has(x, ${PID[unnamed]})] == [5]
unnamed.visited [n["visited"] for n in doc["namespaces"] if n["inode"] == $(stat -Lc %i "/proc/${PID[unnamed]}/ns/net") and not n["gone"]] == [True]
EXPECT
finish
