#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# tests/series/record.sh [NAME...]	records the series of tests/series/ anew, as root, after make; all, or those that are named
#
# Each is one row of ebb leak on a real program, mostly the one that held the most at any time, as tests/series/record.c saw it: a head
# that says what and when, then a line a snapshot. Four programs at a time; all of it takes six minutes. tests/unit/test_series.c
# says what each must be called. A recording is never edited: where a rule is wrong about one, it is the rule that is mended.
. "$(dirname "$0")/../e2e/lib.sh"
need_ebb

HERE=$ROOT/tests/series
EBB=$ROOT/${O:-build}/tests/series/record
SECONDS_EACH=60
INTERVAL=1s
running=()
declare -A WHAT ROW

# watch NAME PID WHAT [ROW]: ebb on a process; ROW is a regular expression for the row that is kept.
watch() {
	WHAT[$1]=$3 ROW[$1]=${4:-.}
	rm -f "$WORK/$1.raw"
	EBB_SERIES=$WORK/$1.raw ebb "$1-ebb" leak "$2" -i "$INTERVAL" -d "${SECONDS_EACH}s" --max-overhead none --no-color ||
		{ not_ok "$1" "ebb did not attach"; return 1; }
	running+=("$1")
}

# redis NAME KIND OPTIONS WHAT: a redis-server under the load of load.py.
redis() {
	local port
	port=$(free_port)
	# shellcheck disable=SC2086
	start "$1" redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$WORK" $3
	await "$1" 'Ready to accept connections' || { not_ok "$1" "it did not start"; return; }
	watch "$1" "${PID[$1]}" "$(redis-server --version | grep -Eo 'v=[0-9.]+' | sed 's/v=/redis-server /')${3:+ }$3: $4" || return
	start "$1-load" /usr/bin/python3 "$HERE/load.py" "$port" "$2"
}

python() {
	start "$1" env PYTHONMALLOC=malloc /usr/bin/python3 "$HERE/kinds.py" "$2"
	await "$1" '^ready' || { not_ok "$1" "it did not start"; return; }
	watch "$1" "${PID[$1]}" "PYTHONMALLOC=malloc $(/usr/bin/python3 --version): $3" && tell "$1" go
}

node() {
	start "$1" "$(command -v node)" "$HERE/kinds.js" "$2"
	await "$1" '^ready' || { not_ok "$1" "it did not start"; return; }
	watch "$1" "${PID[$1]}" "node $(command node --version): $3" "${4:-}" && tell "$1" go
}

nginx() {
	local port worker
	port=$(free_port)
	nginx_config "$port"
	start "$1" "$(command -v nginx)" -p "$WORK/nginx" -c "$WORK/nginx/nginx.conf"
	until_true 20 port_open "$port" || { not_ok "$1" "it did not start"; return; }
	worker=$(awk '{ print $1 }' "/proc/${PID[$1]}/task/${PID[$1]}/children")
	OTHERS+=("$worker")
	watch "$1" "$worker" "$(command nginx -v 2>&1 | sed 's,^.*: ,,'): $2" || return
	start "$1-load" bash -c "while :; do curl -s --compressed --rate 3000/m -o /dev/null \
		'http://127.0.0.1:$port/page.html?[1-200]'; sleep 0.3; done"
}

# The name of a line's row may have spaces.
row_of='function row_of(line, i) { for (i = 0; i < 7; i++) sub(/^[^ ]+ /, "", line); return line }'

# The row that held the most at any time, of those that are asked for.
harvest() {
	local name=$1 row
	wait_end "$name-ebb" $((SECONDS_EACH + 30))
	is "$name.status" "$STATUS" 0 || show "$WORK/$name-ebb.err"
	row=$(awk -v re="${ROW[$name]}" "$row_of"'{ name = row_of($0) }
		name ~ re && (!best || $2 > most) { most = $2; best = name } END { print best }' "$WORK/$name.raw")
	check "$name" "no row is ${ROW[$name]}" test -n "$row" || { show "$WORK/$name-ebb.out"; return; }
	{
		printf '# %s\n' "${WHAT[$name]}" "ebb leak PID -i $INTERVAL -d ${SECONDS_EACH}s --max-overhead none" \
			"recorded $(date -u +%F) on Linux $(uname -r | grep -Eo '^[0-9]+\.[0-9]+'); row: $(sed "s, \[.*/, [," <<<"$row")" \
			'time_ns held_bytes held_blocks allocs old_born old_held explained'
		awk -v row="$row" "$row_of"'row_of($0) == row { print $1, $2, $3, $4, $5, $6, $7 }' "$WORK/$name.raw"
	} >"$HERE/$name.series"
	[ -z "${KEEP:-}" ] || table_last "$WORK/$name-ebb.out" >"$WORK/$name.table"
}

record_group() {
	local name kind
	for name; do
		! declare -F "record_$name" >/dev/null || "record_$name"
	done
	for name in "${running[@]}"; do harvest "$name"; done
	for name in "${running[@]}"; do
		for kind in "$name-load" "$name"; do [ -z "${PID[$kind]:-}" ] || stop "$kind" TERM; done
	done
	running=()
}

record_redis_fill() { redis redis-fill fill '' 'keys that nobody deletes'; }
record_redis_flush() { redis redis-flush flush '' 'keys for 8 s, then FLUSHALL, then only reads'; }
record_redis_lru() { redis redis-lru lru '--maxmemory 12mb --maxmemory-policy allkeys-lru' 'random keys'; }
record_redis_ttl() { redis redis-ttl ttl '' 'keys that live for 6 s'; }
record_redis_refill() { redis redis-refill refill '' 'keys, and FLUSHALL every 7 s'; }
record_redis_load() { redis redis-load load '' 'keys for 6 s, then only reads'; }
record_python_leak() { python python-leak leak 'a list that nobody empties'; }
record_python_rare() { python python-rare rare 'a list that grows once in 4 s, and requests'; }
record_python_partly() { python python-partly partly 'a list that loses one block in ten'; }
record_python_lru() { python python-lru lru 'functools.lru_cache(maxsize=1500), random keys'; }
record_python_words() { python python-words words 'a dict of all words that ever came, new ones ever more rarely'; }
record_python_memo() { python python-memo memo 'functools.lru_cache(maxsize=None), 600 keys'; }
record_python_index() { python python-index index 'a table that is built in 5 s and then read'; }
record_python_requests() { python python-requests requests 'requests that rise and fall in number'; }
record_python_window() { python python-window window 'the last 1000 of a stream'; }
record_python_batches() { python python-batches batches 'batches that are collected for 9 s'; }
record_node_leak() { node node-leak leak 'a Map of sessions that nobody ends'; }
record_node_lru() { node node-lru lru 'a Map of 600 sessions at most'; }
record_node_warm() { node node-warm warm 'an HTTP server from its first request on' '^v8::internal::Page::'; }
record_node_requests() { node node-requests warm 'an HTTP server under steady load'; }
record_nginx_load() { nginx nginx-load 'a compressed page, over and over'; }

kinds=$(declare -F | sed -n 's/^declare -f record_//p')
[ $# = 0 ] || kinds=${*//-/_}
# shellcheck disable=SC2086
set -- $kinds
while [ $# -gt 0 ]; do
	record_group "${@:1:4}"
	shift $(($# < 4 ? $# : 4))
done
finish
