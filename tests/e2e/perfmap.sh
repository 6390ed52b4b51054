#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# JavaScript functions by the names that node writes into /tmp/perf-PID.map, on the host and in namespaces of its own.
. "$(dirname "$0")/lib.sh"
need_ebb
command -v node >/dev/null || { skip perfmap "node is not installed"; finish; }
cd "$WORK" || finish	# node writes a log, too, where it stands

# The compiler must not put one function into another.
FLAGS='--perf-basic-prof --interpreted-frames-native-stack --no-opt'
export PROGRAM='
const kept = new Map();
console.log("ready " + process.pid);
process.stdin.on("data", (data) => {
	if (String(data).includes("quit")) process.exit(0);
	kept.clear();
	keepBuffers();
	console.log("done " + kept.size * 16384);
});
function keepBuffers() {
	for (let i = 0; i < 2000; i++)
		kept.set("key" + i, makeBuffer());
}
function makeBuffer() { return Buffer.alloc(16384); }
'

# look HANDLE EBB-HANDLE PID OPTION…: attached, while the program keeps its buffers.
look() {
	attached_or_fail "$2.attach" "$2" leak "$3" --max-overhead none "${@:4}" || return
	ask "$1" go '^done' 60 || { not_ok "$2" "it did not finish"; return 1; }
	stop "$2"
	is "$2.status" "$STATUS" 0 || show "$WORK/$2.err"
}

# named HANDLE PID: what keepBuffers() holds is found under its name, and under that of who it called.
named() {
	local out="$WORK/$1-folded.out" total
	look "$1" "$1-folded" "$2" -f folded || return
	check "$1.valid" "no folded stacks" folded_valid "$out"
	total=$(awk '/^done/ { print $2; exit }' "${OUT[$1]}")
	check "$1.keepBuffers" "not what it keeps" within "$(folded_sum "$out" keepBuffers)" "$total" 10
	check "$1.chain" "not in this order" within "$(folded_match "$out" ';keepBuffers;makeBuffer;.*alloc')" "$total" 10
}

# --- on the host ---
printf '%s' "$PROGRAM" >"$WORK/buffers.js"
# shellcheck disable=SC2086
start host node $FLAGS "$WORK/buffers.js"
HOOKS+=("rm -f /tmp/perf-${PID[host]}.map")
if await host '^ready'; then
	named host "${PID[host]}"
	# the user's own code, and where it stands; then what is not called his own gives the row to its caller
	look host table "${PID[host]}" -i 1h
	says table.own "$WORK/table.out" ' makeBuffer buffers\.js:14 via '
	look host not-app "${PID[host]}" -i 1h --not-app '^makeBuffer$'
	says not-app.own "$WORK/not-app.out" ' keepBuffers buffers\.js:10 via makeBuffer'
	# the names as node writes them
	look host raw "${PID[host]}" -f folded --no-demangle
	says raw.name "$WORK/raw.out" ';JS:.keepBuffers_.*/buffers\.js:10:[0-9]+;'
	tell host quit
	wait_end host
	is host.shutdown "$STATUS" 0
else
	not_ok host "it did not start"
fi

# --- in its own pid and mount namespaces: it is number 1 there, and its /tmp is another one ---
# shellcheck disable=SC2016,SC2086
start own unshare -m -p -f --mount-proc --kill-child sh -c \
	'mount -t tmpfs none /tmp && printf %s "$PROGRAM" >/tmp/buffers.js && cd /tmp && exec node "$@" /tmp/buffers.js' sh $FLAGS
if await own '^ready 1$'; then
	own_pid=$(awk '{ print $1 }' "/proc/${PID[own]}/task/${PID[own]}/children")
	check own.map "no map in its own /tmp" test -s "/proc/$own_pid/root/tmp/perf-1.map"
	named own "$own_pid"
	tell own quit
	wait_end own
	is own.shutdown "$STATUS" 0
elif grep -q 'not permitted' "${ERR[own]}"; then
	skip own "no namespaces here"
else
	not_ok own "it did not start"
	show "${ERR[own]}"
fi

# --- what is wrong on the command line ---
ebb_run bad-regex leak $$ --app '('
is bad-regex.status "$STATUS" 2
says bad-regex.why "$WORK/bad-regex.err" "--app: '\(' is no regular expression: "
ebb_run bad-ports ports --not-app 'a[' -d 1s
is bad-ports.status "$STATUS" 2
finish
