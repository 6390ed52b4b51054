#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# beside: waiting
# A server with every kind of memory: after 30 s at a snapshot a second exactly the leak is called LEAK.
. "$(dirname "$0")/lib.sh"
need_ebb

start server "$PROGRAMS/server" --seconds 300 --wait
await server '^ready' || finish
attached_or_fail classes.attach table leak "${PID[server]}" -i 1s -d 30s --top 50 --max-overhead none || finish
tell server go
wait_end table
is classes.status "$STATUS" 0 || show "$WORK/table.err"
rows=$(table_rows "$WORK/table.out")
leaks=$(grep '^LEAK ' <<<"$rows")
check classes.leak "the leak is not LEAK" grep -Eq 'session_new|session_open|handle_upload' <<<"$leaks"
check classes.only "something else is LEAK: $(grep -Ev 'session_new|session_open|handle_upload' <<<"$leaks" | head -1)" \
	eval "! grep -Evq 'session_new|session_open|handle_upload' <<<\"\$leaks\""
# A row that is not there is not a leak either; what is there has to be one of the others.
for path in cache_entry_new route_compile buffer_new write_audit; do
	row=$(grep "$path" <<<"$rows")
	check "classes.$path" "called ${row%% *}" test "${row%% *}" != LEAK
done
for path in cache_entry_new route_compile; do
	check "classes.$path.row" "not in the table" grep -q "$path" <<<"$rows"
done
for pair in cache_entry_new:CACHE route_compile:WARM-UP; do
	check "classes.${pair%:*}.${pair#*:}" "after 30 s: $(grep "${pair%:*}" <<<"$rows" | head -1)" \
		eval "grep '${pair%:*}' <<<\"\$rows\" | grep -q '^${pair#*:} '"
done
table_last "$WORK/table.out" >"$WORK/last"
says classes.evidence "$WORK/last" '^ *LEAK: [0-9]+ of [0-9]+ snapshots'
[ $failed = 0 ] || show "$WORK/last"
says classes.next "$WORK/last" '^ *next: .*ebb leak'

# Without a leak nothing is called one.
stop server TERM
start server "$PROGRAMS/server" --seconds 300 --wait --lru --warmup --churn --slow
await server '^ready' || finish
attached_or_fail classes.none.attach table leak "${PID[server]}" -i 1s -d 16s --top 50 --max-overhead none || finish
tell server go
wait_end table
is classes.none.status "$STATUS" 0 || show "$WORK/table.err"
check classes.none "a leak where there is none: $(table_rows "$WORK/table.out" | grep '^LEAK ' | head -1)" \
	eval "! table_rows '$WORK/table.out' | grep -q '^LEAK '"
finish
