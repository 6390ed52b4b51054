#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# beside: waiting
# What `make demo` runs after the build, for a few seconds instead of thirty; also with Ctrl-C in the middle.
. "$(dirname "$0")/lib.sh"
need_ebb

# The file that the demo names.
named() { sed -n 's/^Folded stacks, for a flame graph: //p' "$1"; }

start demo env DEMO_SECONDS=4 TMPDIR="$WORK" "$ROOT/tools/demo.sh"
wait_end demo 60
is demo.status "$STATUS" 0 || show "$WORK/demo.err"
says demo.table "$WORK/demo.out" '^ *CLASS +HELD'
says demo.leak "$WORK/demo.out" 'session_new'
says demo.next "$WORK/demo.out" '^ *next:'
says demo.flamegraph "$WORK/demo.out" 'flamegraph.pl .*[.]folded >'
file=$(named "$WORK/demo.out")
check demo.file "no folded stacks in '$file'" folded_valid "${file:-/dev/null}"
check demo.file.leak "the leak is not in them" test "$(folded_sum "${file:-/dev/null}" session_new)" -gt 0
check demo.leftovers "something else is left" test "$(find "$WORK" -mindepth 1 -maxdepth 1 -name 'ebb-demo*' | wc -l)" = 1

# A terminal sends Ctrl-C to everything in the foreground: one session stands in for it.
start demo setsid env DEMO_SECONDS=60 TMPDIR="$WORK" "$ROOT/tools/demo.sh"
until_true 20 has_line "$WORK/demo.out" '^ *CLASS ' || not_ok demo.interrupt.table "no table"
kill -INT -- "-${PID[demo]}"
wait_end demo 30
is demo.interrupt.status "$STATUS" 130
says demo.interrupt.next "$WORK/demo.out" '^ *next:'
file=$(named "$WORK/demo.out")
check demo.interrupt.file "no folded stacks in '$file'" folded_valid "${file:-/dev/null}"

if command -v setpriv >/dev/null; then
	# opened by root: another user may not reach the folder of the sources
	start demo sh -c 'exec setpriv --reuid=65534 --regid=65534 --clear-groups bash -s <"$1"' sh "$ROOT/tools/demo.sh"
	wait_end demo 30
	is demo.nobody.status "$STATUS" 1
	says demo.nobody.why "$WORK/demo.err" 'root.*sudo make demo'
else
	skip demo.nobody "setpriv (util-linux) is not installed"
fi
finish
