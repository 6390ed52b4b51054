#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make demo`: a server that leaks, and ebb attached to it while it runs. The live report and the final table
# go to the terminal, the folded stacks to a file. DEMO_SECONDS (30) sets how long it looks.
set -u
if [ "$(id -u)" != 0 ]; then
	echo "demo: needs root: the kernel lets only root put probes into another process. Try: sudo make demo" >&2
	exit 1
fi
cd "$(dirname "$0")/.." || exit 1

ebb=${EBB:-build/ebb} server=${PROGRAMS:-build/tests/programs}/server
seconds=${DEMO_SECONDS:-30}

for file in "$ebb" "$server"; do
	[ -x "$file" ] || { echo "demo: $file is not built: run make" >&2; exit 1; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/ebb-demo.XXXXXX") || exit 1
folded=$(mktemp "${TMPDIR:-/tmp}/ebb-demo-XXXXXX.folded") || exit 1
server_pid='' folded_pid='' interrupted=''

# Ends what was started here. The file with the stacks stays, unless there is nothing in it.
cleanup() {
	trap - EXIT
	trap '' INT TERM HUP
	[ -z "$folded_pid" ] || { kill -TERM "$folded_pid" 2>/dev/null; wait "$folded_pid" 2>/dev/null; }
	[ -z "$server_pid" ] || { kill -TERM "$server_pid" 2>/dev/null; wait "$server_pid" 2>/dev/null; }
	rm -rf "$work"
	[ -s "$folded" ] || rm -f "$folded"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# In a script a background job has SIGINT ignored: Ctrl-C does not end the server.
"$server" --seconds $((seconds + 60)) >"$work/server.out" 2>&1 &
server_pid=$!
for _ in {1..250}; do
	grep -q '^serving' "$work/server.out" && break
	kill -0 "$server_pid" 2>/dev/null || { cat "$work/server.out" >&2; exit 1; }
	sleep 0.02
done

echo "A server runs as PID $server_pid: it leaks sessions, fills a bounded cache, warms up, and churns in three threads."
echo "\$ ebb leak $server_pid -i 1s -d ${seconds}s --max-overhead none"
echo
# Ctrl-C makes both ebbs report at once; then the rest of the demo follows.
trap 'interrupted=y' INT
# The same look a second time, for the file: two ebbs may watch one process.
env --default-signal=INT "$ebb" leak "$server_pid" -d "${seconds}s" --max-overhead none -q -f folded -o "$folded" \
	2>"$work/folded.err" &
folded_pid=$!
"$ebb" leak "$server_pid" -i 1s -d "${seconds}s" --max-overhead none
status=$?

# A signal ends a wait early; the second ebb has had it as well.
while wait "$folded_pid"; folded_status=$?; [ "$folded_status" -gt 128 ] && kill -0 "$folded_pid" 2>/dev/null; do :; done
folded_pid=''
if [ "$status" != 0 ]; then
	echo "demo: ebb ended with exit code $status" >&2
	exit "$status"
fi
if [ "$folded_status" != 0 ] || [ ! -s "$folded" ]; then
	cat "$work/folded.err" >&2
	echo "demo: no folded stacks (exit code $folded_status)" >&2
	exit 1
fi

echo
echo "Folded stacks, for a flame graph: $folded"
# What Debian and others install of the FlameGraph project, or what is in the PATH.
for flamegraph in flamegraph.pl /usr/share/flamegraph/flamegraph.pl /opt/FlameGraph/flamegraph.pl ''; do
	[ -z "$flamegraph" ] || ! command -v "$flamegraph" >/dev/null || break
done
if [ -n "$flamegraph" ]; then
	echo "  $flamegraph --countname=bytes --colors=mem $folded >${folded%.folded}.svg"
else
	echo "  flamegraph.pl --countname=bytes --colors=mem $folded >${folded%.folded}.svg"
fi
[ -z "$interrupted" ] || exit 130
