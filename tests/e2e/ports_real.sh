#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# Real HTTP clients that use up their ports, beside ones that do not: ebb names who, towards whom, and what helps.
#
# Each kind of client has a lab of its own with 200 ports. In it run ones that need a connection for each request and
# well-behaved ones of the same program, each towards its own port of the server: in the report a port tells them apart.
# All run at the same time, and once, under three ebbs that watch the whole machine: TIME_WAIT lasts a minute, so a
# second round in these labs would begin without a port. What each client counts itself is what ebb must say.
#
# WITHOUT_EBB=1: only whether the clients do what they are for.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
[ -n "${WITHOUT_EBB:-}" ] || need_ebb

PORTS=200
REQUESTS=300
VICTIM_REQUESTS=50
SOURCES=$ROOT/tests/programs/ports
SERVER=10.77.0.2

# --- Clients ---

CLIENTS=()
kinds=()
with() { [[ " ${kinds[*]} " = *" $1 "* ]]; }
has() { command -v "$1" >/dev/null || { skip "real.$1" "$1 is not installed"; return 1; }; }

# begin KIND PORT…: its lab, with a server on these ports.
begin() {
	lab "$1" 40000-$((40000 + PORTS - 1)) || { not_ok "real.$1.lab" "no lab"; return 1; }
	inside "$1-srv" "$1-srv" "$PYTHON" "$SOURCES/backend.py" "${@:2}"
	await "$1-srv" '^ready' || { not_ok "real.$1.server" "it did not start"; return 1; }
}
# inside HANDLE LAB COMMAND…
inside() { start "$1" nsenter --net="/run/netns/${NS[$2]}" "${@:3}"; }
# http HANDLE LAB COMMAND…: a client that waits to be told to go.
http() {
	inside "$@"
	await "$1" '^ready' || { not_ok "real.$1.start" "it did not start"; show "${ERR[$1]}"; return 1; }
	CLIENTS+=("$1")
}
# said HANDLE: what it counts itself: ok/exhausted/other. ok_of, exhausted_of: one of them.
said() { awk '$1 == "done" { print $2 "/" $3 "/" $4 }' "${OUT[$1]}"; }
# first_of HANDLE: `FROM, UNTIL`, seconds of the epoch: when its first request without a port began and had failed.
first_of() { awk '$1 == "first" { print $2 ", " $3 }' "${OUT[$1]}"; }
ok_of() { said "$1" | cut -d / -f 1; }
exhausted_of() { said "$1" | cut -d / -f 2; }

# used_up HANDLE ERROR: it got what there was, and then failed for lack of ports and for nothing else.
used_up() {
	is "real.$1.said" "$(said "$1")" $PORTS/$((REQUESTS - PORTS))/0
	says "real.$1.error" "${OUT[$1]}" "^error .*$2"
}
all_fine() { is "real.$1.said" "$(said "$1")" $REQUESTS/0/0; }

node_client() { http "$1" node "$(command -v node)" "$SOURCES/client.js" "$2" "http://$SERVER:$3/" $REQUESTS; }
# The victim is another program with the best of habits: one connection, if only it got one.
start_node() {
	has node || return
	begin node 8100 8109 &&
	node_client node agent 8100 && node_client node-shared shared 8109 &&
	http victim node "$PYTHON" "$SOURCES/client.py" shared "http://$SERVER:8100/" $VICTIM_REQUESTS &&
	kinds+=(node)
}

# Built where it leaves nothing behind, neither files nor servers. Without packages nothing is downloaded.
dotnet_build() {
	local home=$WORK/dotnet
	mkdir "$home" && cp "$SOURCES/Client.csproj" "$SOURCES/Program.cs" "$home" &&
	(cd "$home" && env HOME="$home" TMPDIR="$home" DOTNET_CLI_HOME="$home" NUGET_PACKAGES="$home/packages" \
		DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_WORKLOAD_UPDATE_NOTIFY_DISABLE=true \
		DOTNET_CLI_USE_MSBUILD_SERVER=0 MSBUILDDISABLENODEREUSE=1 DOTNET_EnableDiagnostics=0 \
		timeout 120 dotnet build -c Release -o out -p:UseSharedCompilation=false -p:NuGetAudit=false \
		-nodeReuse:false) >"$WORK/dotnet.log" 2>&1 && return 0
	show "$WORK/dotnet.log"
	return 1
}
# Without the diagnostics' sockets, which stay in the folder of temporary files when a client is killed.
dotnet_client() { http "$1" dotnet env DOTNET_EnableDiagnostics=0 "${@:4}" "$2" "http://$SERVER:$3/" $REQUESTS; }
# By the runtime's host, as in most containers, and by its own executable.
start_dotnet() {
	has dotnet || return
	dotnet_build || { not_ok real.dotnet.build "the SDK did not build it"; return; }
	begin dotnet 8200 8201 8209 &&
	dotnet_client dotnet each 8200 "$(command -v dotnet)" "$WORK/dotnet/out/Client.dll" &&
	dotnet_client dotnet-own each 8201 "$WORK/dotnet/out/Client" &&
	dotnet_client dotnet-shared shared 8209 "$(command -v dotnet)" "$WORK/dotnet/out/Client.dll" &&
	kinds+=(dotnet)
}

python_client() { http "$1" python "$PYTHON" "$SOURCES/client.py" "$2" "http://$SERVER:$3" $REQUESTS; }
# urllib says `Connection: close`: a server that does so spares the client, one that is late with it does not.
start_python() {
	begin python 8300 8301 8308 8309 &&
	python_client python fresh 8300/ && python_client urllib-late urllib 8301/late &&
	python_client urllib urllib 8308/ && python_client python-shared shared 8309/ &&
	kinds+=(python)
}

# nginx as the client of an upstream, three ways: with 1.1 and without `keepalive`, as is often written; with both; and
# the default of most versions, where the upstream is told to close and so closes first.
nginx_conf() {
	mkdir -m 755 "$WORK/nginx" && cat >"$WORK/nginx/nginx.conf" <<-END
		user root;
		worker_processes 1;
		daemon off;
		pid $WORK/nginx/pid;
		error_log stderr notice;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path $WORK/nginx/body;
			proxy_temp_path $WORK/nginx/proxy;
			fastcgi_temp_path $WORK/nginx/fastcgi;
			uwsgi_temp_path $WORK/nginx/uwsgi;
			scgi_temp_path $WORK/nginx/scgi;
			upstream kept { server $SERVER:8409; keepalive 4; }
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			server { listen 127.0.0.1:80; location / { proxy_pass http://$SERVER:8400; } }
			server { listen 127.0.0.1:88; location / {
				proxy_http_version 1.0;
				proxy_set_header Connection close;
				proxy_pass http://$SERVER:8408;
			} }
			server { listen 127.0.0.1:89; location / { proxy_pass http://kept; } }
		}
	END
}
load() { http "load$1" nginx "$PYTHON" "$SOURCES/client.py" shared "http://127.0.0.1:$1/" $REQUESTS; }
start_nginx() {
	has nginx || return
	begin nginx 8400 8408 8409 && nginx_conf || return
	inside nginx nginx "$(command -v nginx)" -p "$WORK/nginx" -c "$WORK/nginx/nginx.conf"
	await_err nginx 'start worker process [0-9]' || { not_ok real.nginx.start "it did not start"; return; }
	worker=$(awk '{ print $1 }' "/proc/${PID[nginx]}/task/${PID[nginx]}/children")
	OTHERS+=("$worker")
	load 80 && load 88 && load 89 && kinds+=(nginx)
}

# --- What ebb says ---

JSON_NAMES+='
def by(dest, role): return [o for o in dest["owners"] if o["role"] == role]
def pids(dest, role): return [p["pid"] for o in by(dest, role) for p in o["processes"]]
def total(dest, role, key): return sum(o[key] for o in by(dest, role))
def seconds(text):
    import calendar, time
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
def base(path): return path.rpartition("/")[2]
'

# culprit NAME LAB PORT PID OK EXHAUSTED EXE REMEDY [CALLED]
culprit() {
	local d="d('$2', port=$3)" called=${9:-$7}
	json_is "real.$1" "$WORK/json.out" <<-END
		alarm $d["alarm"] == some("exhausted", "was-exhausted")
		culprit pids($d, "culprit") == [$4]
		exe [base(o["exe"]) for o in by($d, "culprit")] == ["$7"]
		name by($d, "culprit")[0]["name"] == like(r"^$called(\[$4\]|$)")
		exhausted total($d, "culprit", "exhausted") == $6
		established total($d, "culprit", "established") == $5
		attempts total($d, "culprit", "attempts") == $5 + $6
		other-failures [$d[k] for k in ("collisions", "failed_other", "refused", "timed_out", "reset", "aborted")] == [0] * 6
		closed [$d[k] for k in ("closed_first", "closed_by_peer", "closed_hard")] == [$5, 0, 0]
		full [$d["usable"], $d["used_max"]] == [$PORTS, $PORTS]
		unowned [$d["unowned"], $d["unowned_time_wait"]] == [0, 0]
		closes "client-closes-first" in $d["verdicts"]
		short "short-lived" in $d["verdicts"]
		life 0 < $d["median_life_ms"] < 1000
		advice " ".join($d["advice"]) == like("$8")
		failures [bool(o["first_failure"] and o["first_failure"] <= o["last_failure"]) for o in by($d, "culprit")] == [True]
	END
	since_is "$@"
	table_says "$1" "$3" "CULPRIT +$called" "$8"
}
# since_is NAME LAB PORT …: it is exhausted since the second of the first failure, as the client has it.
since_is() {
	local first
	[ -n "${OUT[$1]:-}" ] && first=$(first_of "$1")
	[ -n "${first:-}" ] || return 0
	# clocks of two kinds are compared, which differ by less than this
	json_is "real.$1" "$WORK/json.out" <<-END
		since int(${first%, *} - 0.01) <= seconds(d("$2", port=$3)["since"]) <= int(${first#*, } + 0.01)
	END
}
# stack_is NAME LAB PORT REGEX COMM: a frame of the stack of the culprit, which has names even when the process has ended.
stack_is() {
	json_is "real.$1" "$WORK/json.out" <<<"stack ' '.join(by(d('$2', port=$3), 'culprit')[0]['stack'] or []) == like(r'$4')"
	check "real.$1.folded.stack" "no stack with /$4/" test "$(folded_match "$WORK/folded.out" "^$5;.*($4)")" -ge $PORTS
}
# healthy NAME LAB PORT PID CONNECTIONS OPEN
healthy() {
	local d="d('$2', port=$3)"
	json_is "real.$1" "$WORK/json.out" <<-END
		alarm $d["alarm"] == "fine"
		roles [o["role"] for o in $d["owners"]] == ["user"]
		owner pids($d, "user") == [$4]
		connections [$d[k] for k in ("attempts", "established", "exhausted")] == [$5, $5, 0]
		open [$d["open"], $d["time_wait"]] == [$6, 0]
		advice $d["advice"] == []
	END
	paragraph "$3" >"$WORK/$1.block"
	says_not "real.$1.table" "$WORK/$1.block" 'EXHAUSTED|full in|LEAK|CULPRIT'
}
# paragraph PORT: all that the table says of a destination: each line that begins with it, with the lines below that are
# further right.
paragraph() {
	awk -v at="$SERVER:$1" '
		$1 == at { match($0, /^ */); left = RLENGTH; on = 1; print; next }
		on { match($0, /^ */); if (RLENGTH <= left) on = 0; else print }' "$WORK/table.out"
}
table_says() {
	paragraph "$2" >"$WORK/$1.block"
	says "real.$1.table.state" "$WORK/$1.block" EXHAUSTED
	says "real.$1.table.culprit" "$WORK/$1.block" "$3"
	says "real.$1.table.remedy" "$WORK/$1.block" "$4"
}
# folded_has NAME COMM CONNECTIONS
folded_has() {
	check "real.$1.folded" "fewer than $3 connections of $2" \
		test "$(folded_match "$WORK/folded.out" "^$2;")" -ge "$3"
}

# --- All at once ---

start_dotnet
start_node
start_python
start_nginx
[ ${#kinds[@]} -gt 0 ] || { not_ok real "no client runs"; finish; }

if [ -z "${WITHOUT_EBB:-}" ]; then
	attached_or_fail real.json.attach json ports -f json || finish
	attached_or_fail real.folded.attach folded ports -f folded -v || finish
	attached_or_fail real.table.attach table ports -f table --top 1000 --no-color || finish
fi

for h in "${CLIENTS[@]}"; do [ "$h" = victim ] || tell "$h" go; done
for h in "${CLIENTS[@]}"; do
	[ "$h" = victim ] || await "$h" '^done' 60 || not_ok "real.$h.done" "it did not finish"
done

# The culprit goes, another comes and gets nothing.
if with node; then
	node_pid=${PID[node]}
	tell node quit
	wait_end node
	is real.node.end "$STATUS" 0
	tell victim go
	await victim '^done' 60 || not_ok real.victim.done "it did not finish"
	is real.victim.said "$(said victim)" 0/$VICTIM_REQUESTS/0
fi

for h in json folded table; do
	[ -n "${PID[$h]:-}" ] || continue
	stop "$h"
	is "real.$h.status" "$STATUS" 0 || show "${ERR[$h]}"
done

# --- What the clients did, whoever watches ---

if with node; then
	used_up node 'EADDRNOTAVAIL'
	all_fine node-shared
fi
if with dotnet; then
	used_up dotnet 'AddressNotAvailable 99 '
	used_up dotnet-own 'AddressNotAvailable 99 '
	all_fine dotnet-shared
fi
if with python; then
	used_up python 'OSError\(99,'
	used_up urllib-late 'OSError\(99,'
	all_fine urllib
	all_fine python-shared
fi
if with nginx; then
	nginx_failed=$(lines_cnt "${ERR[nginx]}" 'connect\(\) to .* failed \(99: Cannot assign requested address\)')
	is real.nginx.said "$(said load80)" $PORTS/0/$((REQUESTS - PORTS))
	is real.nginx.failed "$nginx_failed" $((REQUESTS - PORTS))
	says real.nginx.error "${OUT[load80]}" '^error .*status 502'
	all_fine load88
	all_fine load89
fi

# --- What ebb makes of it ---

if [ -z "${WITHOUT_EBB:-}" ]; then
	if with node; then
		culprit node node 8100 "$node_pid" "$(ok_of node)" "$(exhausted_of node)" node Agent
		json_is real.victim "$WORK/json.out" <<-END
			culprit-exited [p["exited"] for o in by(d("node", port=8100), "culprit") for p in o["processes"]] == [True]
			pid pids(d("node", port=8100), "victim") == [${PID[victim]}]
			exhausted total(d("node", port=8100), "victim", "exhausted") == $VICTIM_REQUESTS
			holds total(d("node", port=8100), "victim", "held") == 0
			total d("node", port=8100)["exhausted"] == $(exhausted_of node) + $VICTIM_REQUESTS
		END
		says real.victim.table "$WORK/node.block" 'victim +python'
		healthy node-shared node 8109 "${PID[node-shared]}" 1 1
		folded_has node node $PORTS
		stack_is node node 8100 'uv__?tcp_connect|TCPWrap' node
	fi
	if with dotnet; then
		culprit dotnet dotnet 8200 "${PID[dotnet]}" "$(ok_of dotnet)" "$(exhausted_of dotnet)" dotnet HttpClient
		culprit dotnet-own dotnet 8201 "${PID[dotnet-own]}" "$(ok_of dotnet-own)" "$(exhausted_of dotnet-own)" \
			Client HttpClient
		healthy dotnet-shared dotnet 8209 "${PID[dotnet-shared]}" 1 1
	fi
	if with python; then
		exe=$(basename "$(readlink "/proc/${PID[python]}/exe")")
		culprit python python 8300 "${PID[python]}" "$(ok_of python)" "$(exhausted_of python)" \
			"$exe" Session 'python3[.0-9]*'
		culprit urllib-late python 8301 "${PID[urllib-late]}" "$(ok_of urllib-late)" "$(exhausted_of urllib-late)" \
			"$exe" Session 'python3[.0-9]*'
		healthy python-shared python 8309 "${PID[python-shared]}" 1 1
		# A connection a request, too, but the peer closes them first: nothing is held here.
		healthy urllib python 8308 "${PID[urllib]}" $REQUESTS 0
		json_is real.urllib "$WORK/json.out" <<<"closed d('python', port=8308)['closed_by_peer'] == $REQUESTS"
		folded_has python "$(cat "/proc/${PID[python]}/comm")" $((2 * PORTS))
	fi
	if with nginx; then
		culprit nginx nginx 8400 "$worker" $PORTS "$nginx_failed" nginx keepalive
		healthy nginx-kept nginx 8409 "$worker" 1 1
		healthy nginx-default nginx 8408 "$worker" $REQUESTS 0
		json_is real.nginx-default "$WORK/json.out" <<<"closed d('nginx', port=8408)['closed_by_peer'] == $REQUESTS"
	fi
	# What was accepted took nobody's port: the servers' side has no destinations.
	for kind in "${kinds[@]}"; do json_is real "$WORK/json.out" <<<"$kind.accepted dests('$kind-srv') == []"; done
	says_not real.table.head "$WORK/table.out" '\(null\)'
	json_is real "$WORK/json.out" <<<'lost [doc["lost"], [l for l in doc["losses"] if l["count"]]] == [0, []]'
	check real.folded.valid "no folded stacks" folded_valid "$WORK/folded.out"
	says real.events "${ERR[folded]}" "no port left: [^ ]+\[[0-9]+\] 10\.77\.0\.1 -> $SERVER:8[1-4]0.*, EADDRNOTAVAIL"
fi

for h in "${CLIENTS[@]}"; do
	[ -n "${PID[$h]:-}" ] || continue
	tell "$h" quit
	wait_end "$h" 20
	is "real.$h.end" "$STATUS" 0
done
if with nginx; then
	stop nginx QUIT
	is real.nginx.end "$STATUS" 0
fi
finish
