#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# Attached and detached again and again (CYCLES_EACH times each) while they work: node, dotnet, python, nginx, a static program
# and a stripped one, by each way of attaching. No crash, no wrong result, no descriptor that is left behind.
. "$(dirname "$0")/lib.sh"
need_ebb

EACH=${CYCLES_EACH:-3}
ways=(session multi perf '')
need() { local tool; for tool in "${@:2}"; do command -v "$tool" >/dev/null || { skip "cycles_many.$1" "$tool is not installed"; return 1; }; done; }

# cycles NAME PID CNT KIND: so many, by turns; false when the process is gone before. KIND same: its descriptors do not become
# more; idle: it may do nothing for a while.
cycles() {
	local name=$1 pid=$2 i way fds bad=0
	fds=$(ls "/proc/$pid/fd" | wc -l)
	for ((i = 0; i < $3; i++)); do
		way=${ways[$((done_cnt % 4))]}
		if [ -n "$way" ]; then export EBB_ATTACH=$way; else unset EBB_ATTACH; fi
		if ebb cycle leak "$pid" -f folded --value alloc-bytes --max-overhead none; then
			tick 0.2
			stop cycle
			[ "$STATUS" = 0 ] || { note "$name, ${way:-default}: exit code $STATUS"; show "$WORK/cycle.err"; bad=$((bad + 1)); }
			[ "$4" = idle ] && [ ! -s "$WORK/cycle.out" ] || folded_valid "$WORK/cycle.out" || { note "$name, ${way:-default}: no stacks"; bad=$((bad + 1)); }
			done_cnt=$((done_cnt + 1))
		else
			[ -z "${PID[cycle]:-}" ] || stop cycle KILL
			alive "$pid" || break
			note "$name, ${way:-default}: not attached"
			bad=$((bad + 1))
		fi
	done
	unset EBB_ATTACH
	bad_cnt=$((bad_cnt + bad))
	alive "$pid" || return 1
	[ "$4" != same ] || check "cycles_many.$name.descriptors" "it had $fds descriptors" test "$(ls "/proc/$pid/fd" | wc -l)" -le "$fds"
}
begin() { done_cnt=0 bad_cnt=0; }
ended() { is "cycles_many.$1.cycles" "$done_cnt" "$EACH"; is "cycles_many.$1.bad" "$bad_cnt" 0; }

# Programs that check themselves: a ledger of random operations, static and stripped. It must come out right.
ledger() {
	local name=$1 program=$2
	[ -x "$program" ] || { skip "cycles_many.$name" "it is not built"; return; }
	begin
	start ledger "$program" 1000000000
	await ledger '^ready' || { not_ok "cycles_many.$name" "it did not start"; return; }
	tell ledger go
	cycles "$name" "${PID[ledger]}" "$EACH" same
	ended "$name"
	check "cycles_many.$name.alive" "it died" alive "${PID[ledger]}"
	stop ledger KILL
}

node() {
	need node node curl || return
	local port
	port=$(free_port)
	cat >"$WORK/server.js" <<-END
		require('http').createServer((q, r) => { r.end(JSON.stringify(Array.from({ length: 50 }, (_, i) => ({ i, s: 'x'.repeat(i) })))); })
			.listen($port, '127.0.0.1', () => console.log('ready'));
	END
	begin
	start node "$(command -v node)" "$WORK/server.js"
	await node '^ready' || { not_ok cycles_many.node "it did not start"; return; }
	served node "http://127.0.0.1:$port/" "${PID[node]}"
	stop node KILL
}

nginx() {
	need nginx nginx curl || return
	local port worker
	port=$(free_port)
	nginx_config "$port"
	begin
	start nginx "$(command -v nginx)" -p "$WORK/nginx" -c "$WORK/nginx/nginx.conf"
	until_true 20 port_open "$port" || { not_ok cycles_many.nginx "it did not start"; return; }
	worker=$(awk '{ print $1 }' "/proc/${PID[nginx]}/task/${PID[nginx]}/children")
	OTHERS+=("$worker")
	served nginx "http://127.0.0.1:$port/page.html" "$worker"
	stop nginx QUIT
	is cycles_many.nginx.shutdown "$STATUS" 0
}

# served NAME URL PID: cycles while clients ask; each reply is a good one.
served() {
	start curl curl -s --compressed -o /dev/null -w '%{http_code}\n' "$2?[1-1000000]"
	until_true 10 test -s "${OUT[curl]}"
	cycles "$1" "$3" "$EACH" any
	ended "$1"
	check "cycles_many.$1.alive" "it died" alive "$3"
	check "cycles_many.$1.load" "the client ended" alive "${PID[curl]}"
	stop curl TERM
	is "cycles_many.$1.replies" "$(head -n -1 "${OUT[curl]}" | sort -u | xargs)" 200
}

python() {
	need python /usr/bin/python3 || return
	cat >"$WORK/load.py" <<-'END'
		import json, sys, threading
		print("ready", flush=True)
		def work():
		    while True:
		        d = {str(i): list(range(i % 50)) for i in range(300)}
		        if json.loads(json.dumps(d)) != d:
		            print("wrong", flush=True)
		for _ in range(2):
		    threading.Thread(target=work, daemon=True).start()
		sys.stdin.read()
	END
	begin
	start python env PYTHONMALLOC=malloc /usr/bin/python3 "$WORK/load.py"
	await python '^ready' || { not_ok cycles_many.python "it did not start"; return; }
	cycles python "${PID[python]}" "$EACH" same
	ended python
	says_not cycles_many.python.right "${OUT[python]}" wrong
	check cycles_many.python.alive "it died" alive "${PID[python]}"
	stop python KILL
}

# The SDK compiling something, anew until there have been enough cycles; each time it must succeed.
dotnet() {
	need dotnet dotnet || return
	mkdir -p "$WORK/app" "$WORK/home"
	cp "$ROOT"/tests/programs/ports/Client.csproj "$ROOT"/tests/programs/ports/Program.cs "$WORK/app"
	begin
	while [ $done_cnt -lt "$EACH" ] && [ $bad_cnt = 0 ]; do
		start dotnet env DOTNET_CLI_HOME="$WORK/home" DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 dotnet build "$WORK/app" \
			-c Release -o "$WORK/out" -p:UseSharedCompilation=false -p:NuGetAudit=false -nodeReuse:false --no-incremental
		until_true 30 grep -q libcoreclr "/proc/${PID[dotnet]}/maps" || { not_ok cycles_many.dotnet "it did not start"; return; }
		cycles dotnet "${PID[dotnet]}" $((EACH - done_cnt)) idle || true
		wait_end dotnet 120
		[ "$STATUS" = 0 ] || { note "dotnet: exit code $STATUS"; show "$WORK/dotnet.out"; bad_cnt=$((bad_cnt + 1)); }
	done
	ended dotnet
}

cp "$PROGRAMS/ledger" "$WORK/ledger-stripped" && strip "$WORK/ledger-stripped"
ledger stripped "$WORK/ledger-stripped"
ledger static "$PROGRAMS/ledger-static"
python
node
nginx
dotnet
finish
