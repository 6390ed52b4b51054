#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# Programs as their vendors ship them, stripped and without frame pointers, under load: at least 99.5 % of the stacks at
# malloc's return end properly, and what is remembered of stacks is never wrong: each hit is walked again and compared.
. "$(dirname "$0")/lib.sh"
need_ebb
WALK=$ROOT/${O:-build}/tests/unwind/walk
SITE=$ROOT/tests/unwind/site.py
need() { local tool; for tool in "${@:2}"; do command -v "$tool" >/dev/null || { skip "unwind_real.$1" "$tool is not installed"; return 1; }; done; }
need site python3 || finish

# mapped PID PART: the file that the process maps whose path has this part.
mapped() { awk -v part="$2" 'index($6, part) { print $6; exit }' "/proc/$1/maps"; }

# watch NAME PID LIBRARY SECONDS MIN_EVENTS: the load goes on meanwhile.
watch() {
	local name=unwind_real.$1 file offset total ended hits wrong
	file=$(mapped "$2" "$3")
	offset=$(python3 "$SITE" "$file" malloc) || { not_ok "$name" "no malloc in $3"; return; }
	start walk "$WALK" "$2" "/proc/$2/root$file" "$offset" -R -c
	await_err walk '^ready' || { not_ok "$name" "walk does not attach"; show "$WORK/walk.err"; return; }
	sleep "$4"
	stop walk
	read -r _ total ended < <(grep '^total' "$WORK/walk.out")
	hits=$(sed -n 's/^counter remembered stacks that were walked again.*: //p' "$WORK/walk.out")
	wrong=$(sed -n 's/^counter remembered stacks that were wrong.*: //p' "$WORK/walk.out")
	note "figure $1.ended $(awk -v a="$ended" -v b="$total" 'BEGIN { printf "%.3f", b ? 100 * a / b : 0 }') % of $total," \
		"$(grep -c '^stack' "$WORK/walk.out") distinct, $hits remembered, $wrong of them wrong"
	grep '^counter cut' "$WORK/walk.out" >&2
	check "$name.events" "only $total stacks" test "$total" -ge "$5"
	check "$name.ended" "$ended of $total stacks end properly" test $((ended * 1000)) -ge $((total * 995))
	is "$name.remembered" "$wrong" 0
}

redis() {
	need redis redis-server redis-benchmark redis-cli || return
	local port
	port=$(free_port)
	start redis redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$WORK"
	await redis 'Ready to accept connections' || { not_ok unwind_real.redis "it did not start"; return; }
	start load redis-benchmark -h 127.0.0.1 -p "$port" -t set,lpush,hset,zadd -n 300000 -r 10000 -q
	watch redis "${PID[redis]}" libjemalloc 4 1000
	stop load TERM
	stop redis TERM
}

python() {
	start python python3 -c '
import json, threading
def make(n): return [json.dumps({"k": [i] * 5, "s": str(i) * 20}) for i in range(n)] if n < 50 else make(n // 2) + make(n // 2)
def run():
    while True: sorted(make(800), key=lambda s: s[::-1])
for _ in range(2): threading.Thread(target=run, daemon=True).start()
print("ready", flush=True)
run()'
	await python '^ready' || { not_ok unwind_real.python "it did not start"; return; }
	watch python "${PID[python]}" libc.so 4 1000
	stop python KILL
}

node() {
	need node node || return
	start node env SECONDS=60 node --expose-gc "$ROOT/tests/programs/gcstress.js"
	await node '^ready' || { not_ok unwind_real.node "it did not start"; return; }
	watch node "${PID[node]}" libc.so 6 1000
	stop node KILL
}

# The SDK compiling something: the largest .NET program that everybody has.
dotnet() {
	need dotnet dotnet || return
	mkdir -p "$WORK/app" "$WORK/home"
	cp "$ROOT"/tests/programs/ports/Client.csproj "$ROOT"/tests/programs/ports/Program.cs "$WORK/app"
	start dotnet env DOTNET_CLI_HOME="$WORK/home" DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 dotnet build "$WORK/app" \
		-c Release -o "$WORK/out" -p:UseSharedCompilation=false -p:NuGetAudit=false -nodeReuse:false
	until_true 30 eval '[ -n "$(mapped "${PID[dotnet]}" libcoreclr)" ]' || { not_ok unwind_real.dotnet "it did not start"; return; }
	watch dotnet "${PID[dotnet]}" libc.so 6 500
	wait_end dotnet 90
	is unwind_real.dotnet.build "$STATUS" 0 || show "$WORK/dotnet.out"
}

nginx() {
	need nginx nginx curl || return
	local port worker i
	port=$(free_port)
	nginx_config "$port"
	start nginx "$(command -v nginx)" -c "$WORK/nginx/nginx.conf" -p "$WORK/nginx"
	until_true 20 port_open "$port" || { not_ok unwind_real.nginx "it did not start"; show "$WORK/nginx.err"; return; }
	worker=$(pgrep -P "${PID[nginx]}" | head -n 1)
	start load bash -c "for i in {1..3000}; do echo url=http://127.0.0.1:$port/page.html; echo output=/dev/null; done |
		curl -s --http1.1 --compressed -H 'Connection: close' -K -"
	watch nginx "$worker" libc.so 4 500
	stop load TERM
	stop nginx TERM
}

# A Rust program that never ends: it searches what never ends.
rust() {
	need rust rg mkfifo || return
	mkfifo "$WORK/lines"
	start load bash -c "exec yes 'one two one three' >'$WORK/lines'"
	start rust bash -c "exec rg --json one <'$WORK/lines' >/dev/null"
	until_true 20 eval '[ -n "$(mapped "${PID[rust]}" /rg)" ]' || { not_ok unwind_real.rust "it did not start"; return; }
	watch rust "${PID[rust]}" libc.so 4 1000
	stop rust TERM
	stop load TERM
}

redis
python
node
nginx
dotnet
rust
finish
