#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# ebb mem on real programs: node whose JavaScript heap grows, .NET whose static list grows and one that creates watchers, redis
# that fills up. The growing part is named, and managed heaps are compared with what their runtimes say of themselves.
. "$(dirname "$0")/lib.sh"
need_ebb
command -v python3 >/dev/null || { skip mem_real "needs python3"; finish; }

# The last table of a file.
last() { tac "$1" | sed '/^mem  /q' | tac; }
# grows NAME PID REGEX… : looks for a second and a half; the last table has these lines.
grows() {
	local name=$1 pid=$2 regex n=0
	"$EBB" mem "$pid" -d 1500ms -i 150ms --no-color >"$WORK/$name.out" 2>"$WORK/$name.err"
	is "mem_real.$name.status" $? 0
	last "$WORK/$name.out" >"$WORK/$name.last"
	for regex in "${@:3}"; do
		says "mem_real.$name.$((++n))" "$WORK/$name.last" "$regex" || show "$WORK/$name.last"
	done
}
# parts PID FIELD NAME…: the sum of a field over parts.
parts() {
	"$EBB" mem "$1" -f json -o "$WORK/parts.json" && python3 - "$WORK/parts.json" "${@:2}" <<-'PY'
	import json, sys
	print(sum(p[sys.argv[2]] for p in json.load(open(sys.argv[1]))['parts'] if p['name'] in sys.argv[3:]))
	PY
}
# near NAME GOT WANT PERCENT
near() { note "$1: $2 and $3"; check "$1" "got $2, want $3 within $4 %" within "$2" "$3" "$4"; }

# --- .NET: compiled without the SDK's build, which takes longer than all the rest ---
dotnet_home=$(dirname "$(readlink -f "$(command -v dotnet)" 2>/dev/null)" 2>/dev/null)
compile() {
	local csc references runtime
	csc=$(ls -d "$dotnet_home"/sdk/*/Roslyn/bincore/csc.dll 2>/dev/null | tail -n 1)
	references=$(ls -d "$dotnet_home"/packs/Microsoft.NETCore.App.Ref/*/ref/net* 2>/dev/null | tail -n 1)
	runtime=$(basename "$(ls -d "$dotnet_home"/shared/Microsoft.NETCore.App/* | tail -n 1)")
	[ -n "$csc" ] && [ -n "$references" ] || return
	cat >"$WORK/app.cs" <<-'CS'
	using System; using System.Collections.Generic; using System.IO; using System.Threading;
	class App {
		static List<byte[]> kept = new();
		static List<object> watchers = new();
		static void Add(int n) { for (; n > 0; n--) { var b = new byte[8000]; Array.Fill(b, (byte)1); kept.Add(b); } }
		static void Main() {
			Console.WriteLine($"ready {Environment.ProcessId}");
			for (string line; (line = Console.ReadLine()) != null; ) {
				if (line == "grow") for (int i = 0; i < 40; i++) { Add(200); Thread.Sleep(50); }
				if (line == "fill") { Add(12000); GC.Collect(); GC.WaitForPendingFinalizers(); GC.Collect(); Thread.Sleep(200); }
				if (line == "watch") for (int i = 0; i < 40; i++) {
					watchers.Add(new FileSystemWatcher("/usr") { EnableRaisingEvents = true });
					Thread.Sleep(50);
				}
				if (line == "say") {
					var g = GC.GetGCMemoryInfo(GCKind.Any);
					Console.WriteLine($"gc {g.TotalCommittedBytes} {g.HeapSizeBytes}");
				}
				Console.WriteLine($"done {line}");
			}
		}
	}
	CS
	printf '{ "runtimeOptions": { "framework": { "name": "Microsoft.NETCore.App", "version": "%s" } } }\n' "$runtime" >"$WORK/app.runtimeconfig.json"
	# shellcheck disable=SC2046
	dotnet "$csc" -nologo -out:"$WORK/app.dll" $(printf -- '-r:%s ' "$references"/*.dll) "$WORK/app.cs" >"$WORK/csc.out" 2>&1
}
# app HANDLE [VARIABLE=VALUE…]
app() {
	start "$1" env DOTNET_EnableDiagnostics=0 "${@:2}" "$(command -v dotnet)" "$WORK/app.dll"
	await "$1" '^ready' 15
}
# said HANDLE: what GetGCMemoryInfo says is committed.
said() { ask "$1" say '^done say' && awk '/^gc/ { n = $2 } END { print n }' "${OUT[$1]}"; }

if ! command -v dotnet >/dev/null; then
	skip mem_real.dotnet "needs dotnet"
elif ! compile; then
	not_ok mem_real.dotnet "the compiler did not make it"
	show "$WORK/csc.out"
else
	for kind in workstation server; do
		[ "$kind" = server ] && server=1 || server=0
		app "$kind" DOTNET_gcServer=$server || { not_ok "mem_real.$kind" "it did not start"; show "${ERR[$kind]}"; continue; }
		ask "$kind" fill '^done fill' 20
		# What the collector has committed, of which its heap is a part, against the mappings that are its own.
		near "mem_real.$kind.committed" "$(parts "${PID[$kind]}" mapped_bytes managed)" "$(said "$kind")" 5
		tell "$kind" grow
		grows "$kind" "${PID[$kind]}" '^GROWS: managed heap \(\.NET\) \+' '^next: '
		stop "$kind" KILL
	done
	app watcher && tell watcher watch && tick 0.3
	grows watchers "${PID[watcher]}" '^GROWS: descriptors: .*inotify instances \+' '^GROWS: threads: \.NET File Watch \+' \
		"^next: sudo ebb leak ${PID[watcher]} --pairs inotify"
	stop watcher KILL
fi

# --- node ---
if command -v node >/dev/null; then
	cat >"$WORK/app.js" <<-'JS'
	const kept = [], buffers = [];
	let timer;
	const say = () => { const m = process.memoryUsage(); console.log(`memory ${m.heapTotal} ${m.external} ${m.arrayBuffers}`); };
	require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
		clearInterval(timer);
		if (line === 'grow') timer = setInterval(() => { for (let i = 0; i < 4000; i++) kept.push({ i, text: 'x' + i + Math.random() }); }, 40);
		if (line === 'buffers') timer = setInterval(() => buffers.push(Buffer.alloc(1 << 20, 1)), 40);
		if (line === 'say') say();
		console.log(`done ${line}`);
	});
	console.log(`ready ${process.pid}`);
	JS
	start node node "$WORK/app.js"
	await node '^ready' || { not_ok mem_real.node "it did not start"; show "${ERR[node]}"; }
	ask node grow '^done grow' && grows node "${PID[node]}" '^GROWS: managed heap \(V8\) \+'
	ask node stop '^done stop' && tick 1 && ask node say '^done say'
	# heapTotal is what V8 has taken for its spaces, code among them. What is outside of its heap ("external", ArrayBuffers
	# among it) comes from malloc, and is in other parts.
	near mem_real.node.heapTotal "$(parts "${PID[node]}" mapped_bytes managed jit)" "$(awk '/^memory/ { print $2 }' "${OUT[node]}")" 5
	before=$(parts "${PID[node]}" rss_bytes heap arenas anonymous)
	external=$(awk '/^memory/ { n = $4 } END { print n }' "${OUT[node]}")
	ask node buffers '^done buffers' && grows buffers "${PID[node]}" '^GROWS: (other anonymous|malloc) ' "^next: sudo ebb leak ${PID[node]} "
	ask node stop2 '^done stop2' && ask node say '^done say' 5
	until_true 5 lines_at_least "${PID[node]}" "${OUT[node]}" '^memory' 2
	near mem_real.node.buffers $(($(parts "${PID[node]}" rss_bytes heap arenas anonymous) - before)) \
		$(($(awk '/^memory/ { n = $4 } END { print n }' "${OUT[node]}") - external)) 5
	stop node KILL
else
	skip mem_real.node "needs node"
fi

# --- redis: jemalloc's own mappings ---
if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	start redis redis-server --port 0 --unixsocket "$WORK/redis.sock" --save '' --appendonly no --dir "$WORK"
	until_true 5 [ -S "$WORK/redis.sock" ]
	cli() { redis-cli -s "$WORK/redis.sock" "$@"; }
	fill="for i = 1, 2000 do redis.call('set', KEYS[1] .. i, string.rep('x', 300)) end"
	(for i in $(seq 40); do cli eval "$fill" 1 "key$i:"; tick 0.04; done) >/dev/null 2>&1 &
	filler=$!
	grows redis "${PID[redis]}" '^GROWS: (other anonymous|malloc heap)' "^next: sudo ebb leak ${PID[redis]} "
	wait "$filler"
	near mem_real.redis.rss "$("$EBB" mem "${PID[redis]}" -f json | python3 -c 'import json, sys; print(json.load(sys.stdin)["total"]["rss_bytes"])')" \
		"$(cli info memory | tr -d '\r' | awk -F: '/^used_memory_rss:/ { print $2 }')" 10
	stop redis
else
	skip mem_real.redis "needs redis-server and redis-cli"
fi
finish
