# SPDX-License-Identifier: GPL-2.0-only
# What the end-to-end scripts share. Sourced by each of them, never run:
#
#	. "$(dirname "$0")/lib.sh"
#	start server "$PROGRAMS/server" --wait; await server '^ready'
#	ebb leak1 leak "${PID[server]}" -f folded && tell server go
#	…
#	stop leak1; is leak.status "$STATUS" 0
#	finish
#
# A script prints one line a result, which tests/run counts: `ok NAME`, `not ok NAME: why`, `skip NAME:
# why`; everything else goes to stderr. It ends with `finish`: one that stops before has failed. Nothing
# here measures time; what is waited for has a limit, so that a script that hangs fails instead.
#
# EBB and PROGRAMS say what is tested (build/ebb, build/tests/programs). TMPDIR is respected.

set -u -o pipefail
export LC_ALL=C

E2E=$(basename "$0" .sh)
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
EBB=${EBB:-$ROOT/build/ebb}
PROGRAMS=${PROGRAMS:-$ROOT/build/tests/programs}
case $EBB in /*) ;; *) EBB=$PWD/$EBB ;; esac
case $PROGRAMS in /*) ;; *) PROGRAMS=$PWD/$PROGRAMS ;; esac
export EBB PROGRAMS
# A container with a memory limit holds ebb and what it watches; e2e/memory.sh does without.
export EBB_SAME_CGROUP=1

WORK=$(mktemp -d "${TMPDIR:-/tmp}/ebb-$E2E.XXXXXX") || exit 1
chmod 755 "$WORK"		# some tests run ebb as another user

failed=0
finished=
STATUS=
declare -A PID FD OUT ERR	# by handle: the name that a script gives to what it starts
OTHERS=()			# pids of children of what was started, which end with the script
HOOKS=()			# commands that take away what was set up, run when all of these have ended

ok() { printf 'ok %s\n' "$1"; }
not_ok() { printf 'not ok %s: %s\n' "$1" "$2"; failed=1; }
skip() { printf 'skip %s: %s\n' "$1" "$2"; }
note() { printf '%s: %s\n' "$E2E" "$*" >&2; }

# is NAME GOT WANT…: GOT is one of WANT.
is() {
	local name=$1 got=$2 want
	shift 2
	for want; do
		[ "$got" = "$want" ] && { ok "$name"; return 0; }
	done
	not_ok "$name" "got $got, want ${*// /_}"
	return 1
}

# check NAME WHY COMMAND…: the command succeeds.
check() {
	local name=$1 why=$2
	shift 2
	if "$@"; then ok "$name"; else not_ok "$name" "$why"; return 1; fi
}

# says NAME FILE REGEX: a line of the file matches (without regard to case).
says() {
	if grep -Eiq -- "$3" "$2"; then ok "$1"; return 0; fi
	not_ok "$1" "$(basename "$2") does not say /$3/"
	show "$2"
	return 1
}

# says_not NAME FILE REGEX: no line does.
says_not() {
	if ! grep -Eiq -- "$3" "$2"; then ok "$1"; return 0; fi
	not_ok "$1" "$(basename "$2") says /$3/"
	show "$2"
	return 1
}

# The end of a file, to stderr, made safe for a terminal.
show() { [ -s "$1" ] && { echo "--- $(basename "$1")"; tail -n 25 "$1" | cat -v | cut -c1-240; echo "---"; } >&2; return 0; }

# Ends the script, and says so for one result, when something that it needs is missing.
need_root() { [ "$(id -u)" = 0 ] || { skip "$E2E" "needs root"; finish; }; }
need_ebb() {
	need_root
	[ -x "$EBB" ] || { not_ok "$E2E.ebb" "$EBB is not there"; finish; }
}

# Waits about 20 ms without starting a process: nobody ever writes to this pipe.
mkfifo "$WORK/tick" && exec {TICK}<>"$WORK/tick"
tick() { read -rt "${1:-0.02}" -u "$TICK" || true; }

# until_true SECONDS COMMAND…: polls; false when it never became true.
until_true() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		tick
	done
}

alive() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	stat=${stat##*) }
	[ "${stat:0:1}" != Z ] && [ "${stat:0:1}" != X ]
}
gone() { ! alive "$1"; }

# A command in place of this shell, without the pipes that lead to others.
launch() {
	local fd
	trap - EXIT INT TERM HUP
	for fd in "${FD[@]}" "$TICK"; do exec {fd}>&-; done
	exec env --default-signal=INT,QUIT,HUP,PIPE,TERM "$@"
}

# start HANDLE COMMAND…: in the background, standard input from a pipe (tell), output to ${OUT[HANDLE]} and
# ${ERR[HANDLE]}, pid in ${PID[HANDLE]}. Signals as a shell starts a foreground command (a background one
# has SIGINT ignored). OUTFILE, when set, is where its standard output goes instead.
start() {
	local h=$1 fd
	shift
	forget "$h"
	rm -f "$WORK/$h.in"
	mkfifo "$WORK/$h.in"
	exec {fd}<>"$WORK/$h.in"
	FD[$h]=$fd OUT[$h]=${OUTFILE:-$WORK/$h.out} ERR[$h]=$WORK/$h.err
	[ -n "${OUTFILE:-}" ] || : >"${OUT[$h]}"
	: >"${ERR[$h]}"
	launch "$@" <"$WORK/$h.in" >>"${OUT[$h]}" 2>>"${ERR[$h]}" &
	PID[$h]=$!
}

# Closes the input of something that was started.
hush() { local fd=${FD[$1]:-}; [ -z "$fd" ] || exec {fd}>&-; unset "FD[$1]"; }
forget() { hush "$1"; unset "PID[$1]"; }

tell() { printf '%s\n' "$2" >&"${FD[$1]}"; }

has_line() { grep -Eq -- "$2" "$1" 2>/dev/null; }
line_or_gone() { has_line "$2" "$3" || gone "$1"; }
lines_cnt() { grep -Ec -- "$2" "$1" 2>/dev/null || true; }
lines_at_least() { [ "$(lines_cnt "$2" "$3")" -ge "$4" ] || gone "$1"; }

# await HANDLE REGEX [SECONDS [CNT]]: until its output has CNT lines that match; false when it ended before.
await() { await_file "${PID[$1]}" "${OUT[$1]}" "${@:2}"; }
await_err() { await_file "${PID[$1]}" "${ERR[$1]}" "${@:2}"; }
await_file() {
	until_true "${4:-30}" lines_at_least "$1" "$2" "$3" "${5:-1}"
	[ "$(lines_cnt "$2" "$3")" -ge "${5:-1}" ] && return 0
	note "no line /$3/ in $(basename "$2")"
	show "$2"
	return 1
}

# ask HANDLE COMMAND REGEX [SECONDS]: tells it and waits for one more line that matches.
ask() {
	local before
	before=$(lines_cnt "${OUT[$1]}" "$3")
	tell "$1" "$2"
	await "$1" "$3" "${4:-30}" $((before + 1))
}

# wait_end HANDLE [SECONDS]: until it has ended; its exit code in STATUS, or `hung` (then it is killed).
wait_end() {
	local pid=${PID[$1]} hung=
	until_true "${2:-60}" gone "$pid" || { hung=y; kill -KILL "$pid"; note "$1 did not end: killed"; }
	wait "$pid" 2>/dev/null
	STATUS=$?
	[ -z "$hung" ] || STATUS=hung
	forget "$1"
}

# stop HANDLE [SIGNAL [SECONDS]]
stop() {
	kill -"${2:-INT}" "${PID[$1]}" 2>/dev/null
	wait_end "$1" "${3:-60}"
}

# ebb HANDLE ARGUMENT…: in the background, until it says that it is attached.
ebb() {
	start "$1" "$EBB" "${@:2}"
	until_true 60 line_or_gone "${PID[$1]}" "${ERR[$1]}" '^attached'
	has_line "${ERR[$1]}" '^attached' && return 0
	note "not attached: ebb ${*:2}"
	show "${ERR[$1]}"
	return 1
}

# ebb_run HANDLE ARGUMENT…: to its end, 60 s at most (EBB_SECONDS); STATUS.
ebb_run() {
	start "$1" "$EBB" "${@:2}"
	wait_end "$1" "${EBB_SECONDS:-60}"
}

# attached_or_fail NAME HANDLE ARGUMENT…: as ebb, and a failed result when it does not get there.
attached_or_fail() {
	local name=$1
	shift
	ebb "$@" && return 0
	if [ -n "${PID[$1]:-}" ] && alive "${PID[$1]}"; then stop "$1" KILL; else wait_end "$1"; fi
	not_ok "$name" "ebb did not attach (exit code $STATUS)"
	return 1
}

cleanup() {
	local h pid hook
	trap - EXIT
	trap '' INT TERM HUP
	for h in "${!PID[@]}"; do kill -TERM "${PID[$h]}" 2>/dev/null; done
	for pid in "${OTHERS[@]}"; do kill -TERM "$pid" 2>/dev/null; done
	for h in "${!PID[@]}"; do
		until_true 3 gone "${PID[$h]}" || kill -KILL "${PID[$h]}" 2>/dev/null
		wait "${PID[$h]}" 2>/dev/null
	done
	for pid in "${OTHERS[@]}"; do
		until_true 3 gone "$pid" || kill -KILL "$pid" 2>/dev/null
	done
	for hook in "${HOOKS[@]}"; do $hook; done
	[ -n "$finished" ] || { not_ok "$E2E.finish" "the script ended early"; }
	if [ -n "${KEEP:-}" ]; then note "kept $WORK"; else rm -rf "$WORK"; fi
	exit $failed
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

finish() { finished=y; exit; }

# A TCP port of 127.0.0.1 that nobody listens on.
free_port() {
	local port
	for _ in {1..100}; do
		port=$((20000 + RANDOM % 10000))
		(exec {fd}<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return 0; }
	done
	return 1
}
port_open() { (exec {fd}<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# --- Folded stacks: comm;outermost;…;innermost value ---

# folded_valid FILE: not empty, and every line is one: one space, a value above 0, no empty frame, no control
# character.
folded_valid() {
	awk '!/^[^ ;]+(;[^ ;]+)+ [1-9][0-9]*$/ || /[[:cntrl:]]/ {
		printf "line %d is not a folded stack: %s\n", NR, $0 >"/dev/stderr"; bad = 1
	} END { exit bad || !NR }' "$1"
}
# nginx_config PORT: for one worker that serves a page of 20,000 bytes, compressed; in $WORK/nginx/nginx.conf.
nginx_config() {
	mkdir -p "$WORK/nginx/html"
	head -c 20000 /dev/zero | tr '\0' x >"$WORK/nginx/html/page.html"
	printf '%s\n' "user root; worker_processes 1; daemon off; pid $WORK/nginx/pid; error_log stderr notice;" \
		'events { worker_connections 128; }' "http { access_log off; client_body_temp_path $WORK/nginx/b;" \
		"proxy_temp_path $WORK/nginx/p; fastcgi_temp_path $WORK/nginx/f; uwsgi_temp_path $WORK/nginx/u;" \
		"scgi_temp_path $WORK/nginx/s; default_type text/html; gzip on; gzip_min_length 1;" \
		"server { listen 127.0.0.1:$1; location / { root $WORK/nginx/html; } } }" >"$WORK/nginx/nginx.conf"
}
# code_of PID HANDLE [REGEX]: the first 64 bytes of each of the allocator's functions in a process, in hex; HANDLE is a program
# that has said where they are (`addr NAME ADDRESS`). A probe is a byte in them.
code_of() {
	local name addr
	while read -r _ name addr; do
		printf '%s ' "$name"
		dd if="/proc/$1/mem" bs=64 count=1 iflag=skip_bytes skip=$((addr)) status=none 2>/dev/null | od -An -v -tx1 | tr -d ' \n'
		echo
	done < <(grep -E "^addr (${3:-.*}) " "${OUT[$2]}")
}
# plugins_watched NAME OPTIONS LINE…: ebb leak looks with these options while the program `plugins` is told these lines (`sh …`:
# what the script does); folded stacks in leak.out.
plugins_watched() {
	local name=$1 options=$2
	shift 2
	start plugins "$PROGRAMS/plugins"
	await plugins '^ready' || { not_ok "$name" "plugins does not start"; return 1; }
	# shellcheck disable=SC2086
	attached_or_fail "$name.attach" leak leak "${PID[plugins]}" $options -f folded --max-overhead none || return 1
	for line; do
		case $line in
		sh\ *) eval "${line#sh }" ;;
		*) ask plugins "$line" '^(used|looped)' 60 || { not_ok "$name" "no answer to $line"; return 1; } ;;
		esac
	done
	stop leak
	is "$name.status" "$STATUS" 0 || show "$WORK/leak.err"
	stop plugins TERM
}
# folded_sum FILE FRAME: sum of the stacks in which a frame has this name.
folded_sum() {
	awk -v frame="$2" '{
		n = split(substr($0, 1, length($0) - length($NF) - 1), f, ";")
		for (i = 2; i <= n; i++) if (f[i] == frame) { sum += $NF; break }
	} END { printf "%.0f\n", sum }' "$1"
}
# folded_match FILE REGEX: sum of the stacks whose line matches.
folded_match() { awk -v re="$2" '$0 ~ re { sum += $NF } END { printf "%.0f\n", sum }' "$1"; }
folded_total() { awk '{ sum += $NF } END { printf "%.0f\n", sum }' "$1"; }
# folded_sites FILE: `FRAME SUM` by innermost frame.
folded_sites() {
	awk '{
		n = split(substr($0, 1, length($0) - length($NF) - 1), f, ";")
		sum[f[n]] += $NF
	} END { for (s in sum) printf "%s %.0f\n", s, sum[s] }' "$1" | sort
}
# sites_equal FOLDED EXPECTED COLUMN REGEX: sums by innermost frame are those of EXPECTED (lines `SITE BYTES
# BLOCKS`, COLUMN 2 or 3), for all frames that match; the differences on stderr.
sites_equal() {
	awk -v re="$4" -v c="$3" '$1 ~ re && $c { print $1, $c }' "$2" | sort >"$WORK/want.sites"
	folded_sites "$1" | awk -v re="$4" '$1 ~ re' >"$WORK/got.sites"
	[ -s "$WORK/want.sites" ] || { note "nothing is expected: the test is wrong"; return 1; }
	cmp -s "$WORK/want.sites" "$WORK/got.sites" && return 0
	note "want (<) and got (>):"
	diff "$WORK/want.sites" "$WORK/got.sites" >&2
	return 1
}
# frames_equal FOLDED EXPECTED COLUMN REGEX: the same for frames anywhere in a stack.
frames_equal() {
	local site bytes blocks want bad=0
	while read -r site bytes blocks; do
		[[ $site =~ $4 ]] || continue
		want=$bytes
		[ "$3" = 3 ] && want=$blocks
		[ "$(folded_sum "$1" "$site")" = "$want" ] && continue
		note "$site: want $want, got $(folded_sum "$1" "$site")"
		bad=1
	done <"$2"
	return $bad
}
# within GOT WANT PERCENT
within() {
	awk -v got="$1" -v want="$2" -v percent="$3" 'BEGIN {
		d = got - want; if (d < 0) d = -d
		exit !(want > 0 && d <= want * percent / 100)
	}' && return 0
	note "got $1, want $2 within $3 %"
	return 1
}

# --- The table ---

# table_last FILE: the last one of several, from its heads (the line of the process) to the end.
table_last() {
	awk '/^ *leak +[^ ]/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$1"
}
# table_rows FILE: the rows of the last table, one a line with their details: `CLASS the rest`.
table_rows() {
	table_last "$1" | awk '
		/^ *CLASS / { rows = 1; next }
		!rows { next }
		/^ *next:/ { rows = 0; next }
		/^ *(LEAK|EARLY|GROWING|FLAT|CACHE|WARM-UP|other) / { if (row) print row; row = $0; sub(/^ */, "", row); next }
		/^ +[^ ]/ && row { text = $0; sub(/^ +/, " ", text); row = row text; next }
		{ if (row) print row; row = "" }
		END { if (row) print row }'
}
