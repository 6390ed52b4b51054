#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# Ten minutes on the server of the demo: no loss, the verdict stays, ebb itself does not grow.
. "$(dirname "$0")/../lib.sh"
need_ebb

rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

start server "$PROGRAMS/server" --seconds 800
await server '^serving' || finish
if attached_or_fail soak.attach soak leak "${PID[server]}" -i 1s -d 600s --max-overhead none; then
	sleep 60
	early=$(rss_kib "${PID[soak]}")
	sleep 520
	late=$(rss_kib "${PID[soak]}")
	note "ebb's RSS after 1 min: $early KiB, after 9.5 min: $late KiB"
	check soak.rss "ebb grew from $early to $late KiB" test "$late" -le $((early + 4096))
	wait_end soak 60
	is soak.status "$STATUS" 0
	says soak.leak "$WORK/soak.out" '^LEAK .*session_new'
	check soak.only "something else was called LEAK" \
		eval "! grep '^LEAK ' '$WORK/soak.out' | grep -Evq 'session_new|write_audit'"
fi
check soak.alive "the server died" alive "${PID[server]}"
finish
