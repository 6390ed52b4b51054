#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
# `ebb ports`, bad input and bad luck: the right exit code and a message that says what is wrong; nothing hidden, no
# crash, no raw escape sequence from somebody else's name.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
need_ebb

# expect NAME CODE REGEX ARGUMENT…: `ebb ports` ends with CODE (several: 1|2) and says REGEX on stderr.
expect() { expect_with "$1" "$2" "$3" "$EBB" ports "${@:4}"; }
# expect_with NAME CODE REGEX COMMAND…: the same for a command that runs ebb somehow.
expect_with() {
	local name=ports_bad.$1 code=$2 regex=$3
	shift 3
	start run "$@"
	wait_end run 60
	if [[ $STATUS =~ ^($code)$ ]]; then ok "$name.status"; else not_ok "$name.status" "got $STATUS, want $code"; show "$WORK/run.err"; fi
	[ -z "$regex" ] || says "$name.says" "$WORK/run.err" "$regex"
	clean "$name" run
}
clean() {
	check "$1.clean" "control characters or an internal error in what it says" \
		eval "! grep -aPq '[\\x00-\\x08\\x0b-\\x1f\\x7f]|Assertion|Segmentation|libbpf: ' '$WORK/$2.err' '$WORK/$2.out'"
}

netns one && netns two || finish

# --- namespaces and processes that are none ---
sh -c : &
dead=$!
wait "$dead"
expect netns-no-file '1|2' "$WORK/none" --netns "$WORK/none" -d 1s
expect netns-no-name '1|2' 'no-such-netns' --netns no-such-netns -d 1s
expect netns-no-pid '1|2' "$dead" --netns "$dead" -d 1s
echo >"$WORK/file"
expect netns-file '1|2' "no network namespace|not a network namespace" --netns "$WORK/file" -d 1s
expect netns-device '1|2' '/dev/null' --netns /dev/null -d 1s
expect netns-folder '1|2' "$WORK" --netns "$WORK" -d 1s
expect netns-other-kind '1|2' 'network namespace' --netns /proc/self/ns/mnt -d 1s
expect netns-empty '1|2' '' --netns '' -d 1s
expect netns-escape '1|2' '' --netns $'/tmp/\e[31mred\n' -d 1s
expect pid-dead '1|2' "$dead" "$dead" -d 1s
expect pid-huge '1|2' '99999999999999999999' 99999999999999999999 -d 1s
expect name-none '1|2' 'no-such-name' no-such-name -d 1s
expect pid-twice 2 '' -p $$ $$ -d 1s

# --- command lines ---
for dest in '' x 10.77.0 10.77.0.2:99999 10.77.0.2:x 10.77.0.2: ':0' ':' '[fd00:77::2' '[fd00:77::2]80' 10.77.0.2:80:80 \
		10.77.0.2/24 $'\e[31m'; do
	expect "dest-${dest//[^A-Za-z0-9.:]/_}" 2 'dest|address|port' --dest "$dest" -d 1s
done
expect bad-value 2 'connections' --value held-bytes -f folded -d 1s
expect bad-format 2 'json' -f yaml -d 1s
expect bad-memory 2 'max-memory' --max-memory lots -d 1s
expect tiny-memory 2 'max-memory' --max-memory 1 -d 1s
expect bad-top 2 'top' --top many -d 1s
expect bad-duration 2 'soon' -d soon
expect unknown-option 2 'frobnicate' --frobnicate
expect others-option 2 'min-size' --min-size 1K -d 1s
expect no-argument 2 'netns' --netns
expect output-no-folder 1 "$WORK/none/file.*no such" -d 1s -f json -o "$WORK/none/file"
expect output-full 1 'no space' -d 1s -f json -o /dev/full
OUTFILE=/dev/full expect stdout-full 1 'no space' -d 1s -f json
OUTFILE=/dev/full expect stdout-full-table 1 'no space' -d 2s -i 500ms

# --- privileges ---
mkdir "$WORK/bin"
cp "$EBB" "$WORK/bin/ebb"
chmod 755 "$WORK/bin" "$WORK/bin/ebb"
if command -v setpriv >/dev/null; then
	expect_with nobody 4 'CAP_[A-Z_]+' setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
		"$WORK/bin/ebb" ports -d 1s
	says ports_bad.nobody.help "$WORK/run.err" 'sudo .*ebb ports|as root'
	for cap in bpf perfmon; do
		expect_with "without-$cap" 4 "CAP_${cap^^}" setpriv --bounding-set="-$cap,-sys_admin" --inh-caps=-all \
			"$WORK/bin/ebb" ports -d 1s
	done
	# Without entering namespaces some figures are missing; it says so or refuses, but does not pretend.
	expect_with without-sys_admin '0|3|4' 'CAP_SYS_ADMIN|namespace' setpriv --bounding-set=-sys_admin --inh-caps=-all \
		"$WORK/bin/ebb" ports -d 1s
else
	skip ports_bad.privileges "setpriv (util-linux) is not installed"
fi

# --- a poor environment ---
if unshare -m true 2>/dev/null; then
	expect_with no-run-netns 0 '' unshare -m sh -c 'mount -t tmpfs none /run/netns && exec "$0" "$@"' "$EBB" ports -d 1s -f json
	expect_with no-proc '1|4' '' unshare -m sh -c 'mount -t tmpfs none /proc && exec "$0" "$@"' "$EBB" ports -d 1s -f json
	expect_with no-btf '0|4' '' unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"' "$EBB" ports -d 1s -f json
	[ "$STATUS" = 0 ] || says ports_bad.no-btf.says "$WORK/run.err" 'BTF'
	expect_with no-cgroups 4 '--bind needs cgroups of version 2 mounted at /sys/fs/cgroup' \
		unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup && exec "$0" "$@"' "$EBB" ports --bind -d 1s -f json
fi
expect_with few-files '0|1|3' '' bash -c 'ulimit -n 64 && exec "$0" "$@"' "$EBB" ports -d 1s -f json
expect_with memlock 0 '' bash -c 'ulimit -l 0 && exec "$0" "$@"' "$EBB" ports -d 1s -f json
expect_with stdout-closed 1 'stdout|standard output' sh -c 'exec "$0" "$@" >&-' "$EBB" ports -d 1s -f json

# --- a namespace without any socket, and one that is deleted while it is looked at ---
expect empty 0 '' --netns "/run/netns/${NS[one]}" -d 1s -f json
json_is ports_bad.empty "$WORK/run.out" <<-EXPECT
namespace ns("one")["usable"] == 28232
destinations dests("one") == []
EXPECT
attached_or_fail ports_bad.deleted.attach deleted ports --netns "/run/netns/${NS[one]}" -i 200ms -f json && {
	tick 0.5
	netns_gone one
	tick 1
	check ports_bad.deleted.alive "it ended" alive "${PID[deleted]}"
	stop deleted TERM
	is ports_bad.deleted.status "$STATUS" 0
	clean ports_bad.deleted deleted
	json_is ports_bad.deleted "$WORK/deleted.out" <<-EXPECT
	gone [n["gone"] for n in doc["namespaces"] if n["name"] == "ebb$$-one"] == [True]
	EXPECT
}
# Many that come and go, faster than it looks.
attached_or_fail ports_bad.many.attach many ports -i 200ms -f json && {
	for ((i = 0; i < 40; i++)); do unshare -n true; ip netns add "ebb$$-two-$i" && ip netns del "ebb$$-two-$i"; done
	stop many TERM
	is ports_bad.many.status "$STATUS" 0
	clean ports_bad.many many
}

# --- names that are made to do harm ---
evil=$'e v"i\n\\;l\e[31m'
lab hostile 40000-40031 && serve hostile 10.77.0.2 8080 || finish
mkdir "$WORK/$evil"
cp "$PROGRAMS/portlab" "$WORK/$evil/$evil"
client hostile hostile "$WORK/$evil/$evil" || finish
ask hostile 'name 0a1b5b33316d223c3b255c0dc3ff20' '^named'
ip netns add "ebb$$-two"$'\e[31m' 2>/dev/null && NS[odd]=ebb$$-two$'\e[31m'
good=y
for format in table json folded; do
	attached_or_fail ports_bad.hostile.$format.attach $format ports -v -i 500ms -f $format --top 1000 || good=
done
if [ -n "$good" ]; then
	does ports_bad.lab.hostile hostile 'connect 10.77.0.2 8080 n=40 close=never' ok=32 EADDRNOTAVAIL=8
	tick 1.5
	for format in table json folded; do
		stop $format TERM
		is ports_bad.hostile.$format.status "$STATUS" 0
		clean ports_bad.hostile.$format $format
	done
	check ports_bad.hostile.folded.valid "not folded stacks" folded_valid "$WORK/folded.out"
	json_is ports_bad.hostile "$WORK/json.out" <<-EXPECT
	used d("hostile")["used"] == 32
	owner o(d("hostile"), ${PID[hostile]})["open"] == 32
	comm o(d("hostile"), ${PID[hostile]})["comm"].startswith("\n\x1b[31m\"<;%\\\\\r")
	EXPECT
	says ports_bad.hostile.table "$WORK/table.out" "^ *10\\.77\\.0\\.2:8080 +(ebb$$-hostile +)?EXHAUSTED"
fi
stop hostile TERM

# --- ended by a signal, output to files ---
lab plain 40000-40031 && serve plain 10.77.0.2 8080 && client plain plain || finish
for signal in INT TERM HUP; do
	attached_or_fail ports_bad.$signal.attach $signal ports --netns "/run/netns/${NS[plain]}" -f json -o "$WORK/$signal.json" || continue
	does ports_bad.lab.$signal plain 'connect 10.77.0.2 8080 n=3 close=never' ok=3
	stop $signal $signal 20
	is ports_bad.$signal.status "$STATUS" 0
	check ports_bad.$signal.stdout "something on standard output" test ! -s "$WORK/$signal.out"
	json_is ports_bad.$signal "$WORK/$signal.json" <<-EXPECT
	attempts d("plain")["attempts"] == 3
	EXPECT
done
attached_or_fail ports_bad.table.attach table ports --netns "/run/netns/${NS[plain]}" -d 60s -i 60s && {
	stop table TERM 20
	is ports_bad.table.status "$STATUS" 0
	says ports_bad.table.final "$WORK/table.out" '10\.77\.0\.2:8080'
}

# --- memory: what does not fit is counted ---
attached_or_fail ports_bad.full.attach full ports --max-memory 1M -f json && {
	does ports_bad.lab.full plain 'connect 10.77.0.2 10000 n=20000 ports=20000' ECONNREFUSED=20000
	stop full TERM
	is ports_bad.full.status "$STATUS" 3
	says ports_bad.full.says "$WORK/full.err" 'lost|max-memory'
	json_is ports_bad.full "$WORK/full.out" <<-EXPECT
	lost doc["lost"] > 0
	named sum(l["count"] for l in doc["losses"]) > 0
	most sum(d["refused"] for d in dests("plain")) + doc["lost"] >= 20000
	EXPECT
}

# --- 64,000 listeners, of four processes: one may not open so many files ---
lab listeners 1024-65535 && client listener listeners && serve listeners 10.77.0.2 80 accept=hold || finish
for i in 0 1 2 3; do
	client listeners$i listeners || finish
	does ports_bad.lab.listeners$i listeners$i "listen 10.77.0.1 $((1024 + 16000 * i)) n=16000 backlog=1" ok=16000
done
attached_or_fail ports_bad.listeners.attach many ports --netns "/run/netns/${NS[listeners]}" -i 1s -f json && {
	does ports_bad.lab.listener listener 'connect 10.77.0.2 80 n=600 close=never' ok=512 EADDRNOTAVAIL=88
	tick 3
	stop many TERM
	is ports_bad.listeners.status "$STATUS" 0
	clean ports_bad.listeners many
	json_is ports_bad.listeners "$WORK/many.out" <<-EXPECT
	listening ns("listeners")["listening"] == 64000
	held ns("listeners")["held"] == 64000
	usable ns("listeners")["usable"] == 512
	destination d("listeners", port=80)["usable"] == 512
	used d("listeners", port=80)["used"] == 512
	exhausted d("listeners", port=80)["exhausted"] == 88
	verdict "range-held" in d("listeners", port=80)["verdicts"]
	EXPECT
}
finish
