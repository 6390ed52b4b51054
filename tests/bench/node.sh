# SPDX-License-Identifier: GPL-2.0-only
# attach.node, rss.node and symbols.node, for tests/bench/run: a whole ebb on a node that works, whose executable alone has
# some 400,000 unwind rows.

NODE_PROGRAM='
const zlib = require("zlib"), crypto = require("crypto");
function digest(i) { return crypto.createHash("sha256").update(Buffer.alloc(10000, i)).digest("hex"); }
function pack(i) { return zlib.deflateSync(Buffer.alloc(2000, i)).length + JSON.stringify({ a: [i, digest(i)] }).length; }
function layer(n, i) { return n ? layer(n - 1, i) : pack(i); }
setInterval(() => { for (let i = 0; i < 20; i++) layer(i % 7, i); }, 20);
console.log("ready");'

# node_start NAME OPTION…: a node that works, in $node; NAME is the benchmark that it is for.
node_start()
{
	command -v node > /dev/null || { say "$1: node is not installed"; return 1; }
	begin "$work/node" node "${@:2}" -e "$NODE_PROGRAM"
	node=$pid
	await "$node" "$work/node" '^ready' || { say "$1: node does not start"; return 1; }
	pause 0.5
}

# In ms: from exec to "attached", which is when every allocation counts. node allocates thousands of times a second.
node_attach_ms()
{
	local t0=${EPOCHREALTIME/./} out=$1

	begin "$out" "$EBB" leak "$node" -d 3s --max-overhead none --no-color -f folded -o "$work/folded"
	ebb=$pid
	until says "$out" '^attached to' || ! alive "$ebb"; do read -rt 0.002 -u "$tick" || true; done
	says "$out" '^attached to' || { say "ebb does not attach: $(tail -n 1 "$out")"; return 1; }
	ms=$(((${EPOCHREALTIME/./} - t0) / 1000))
}

# In MiB: the peaks of ebb and of all its children together.
family_peak_mib()
{
	local p

	for p in "$1" $(cat "/proc/$1/task/$1/children" 2> /dev/null); do awk '/^VmHWM:/ { print $2 / 1024 }' "/proc/$p/status"; done |
		awk '{ sum += $1 } END { print sum }'
}

bench_node_attach()
{
	local i n all=() ms

	node_start attach.node || return 1
	n=$(rounds_wanted 5)
	for ((i = 0; i < n; i++)); do
		node_attach_ms "$work/attach" || return 1
		all+=("$ms")
		end "$ebb" INT
	done
	end "$node" KILL
	say "attach.node: ms from the start of ebb until it counts: ${all[*]}"
	result attach.node "$(median "${all[@]}" | awk '{ print $1 / 1000 }')" 2 max 0.5 s
}

bench_node_rss()
{
	local ms peak

	node_start rss.node || return 1
	node_attach_ms "$work/attach" || return 1
	pause 2
	peak=$(family_peak_mib "$ebb")
	end "$ebb" INT
	end "$node" KILL
	result rss.node "$peak" 1 max 64 MiB
}

bench_node_symbols()
{
	local err=0

	node_start symbols.node --perf-basic-prof --interpreted-frames-native-stack --no-logfile-per-isolate --logfile=/dev/null || return 1
	BENCH_NODE_PID=$node run_bench symbols.node || err=1
	end "$node" KILL
	rm -f "/tmp/perf-$node.map"
	return "$err"
}
