# SPDX-License-Identifier: GPL-2.0-only
# A network lab: pairs of namespaces joined by a veth, with few ports. Sourced after lib.sh, never run.
#
#	lab blue 40000-40031			a client's namespace (NS[blue]) and a server's (NS[blue-srv])
#	serve blue 10.77.0.2 8080 accept=first	a portlab in the server's, listening
#	client c1 blue; ask c1 'connect 10.77.0.2 8080 n=3' '^connect '; is lab "$(counted c1 ok)" 3
#
#	client  10.77.0.1, 10.77.0.5, fd00:77::1	server  10.77.0.2, 10.77.0.3, fd00:77::2
#	10.77.0.9 never answers (nobody has its link address), 10.77.0.200 does not exist
#
# All pairs have the same addresses: what belongs to which must not depend on them. tcp_tw_reuse is 0, and the names
# have the script's pid in them, so that runs side by side do not meet. portlab.c says what a client can be told.

declare -A NS=()	# by name: a namespace's name
HOOKS+=(labs_down)

need_lab() {
	local tool
	need_root
	for tool in ip ss nsenter taskset python3; do
		command -v "$tool" >/dev/null || { skip "$E2E" "needs $tool (iproute2, util-linux, python3)"; finish; }
	done
	ip netns add "ebb$$-try" 2>/dev/null || { skip "$E2E" "no network namespace can be made here"; finish; }
	ip netns del "ebb$$-try"
	ALL_CPUS=$(taskset -cp $$)
	ALL_CPUS=${ALL_CPUS##* } LAB_CPU=${ALL_CPUS##* }
	LAB_CPU=${LAB_CPU%%[-,]*}
	PYTHON=$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || command -v python3)
}

labs_down() {
	local name
	for name in "${!NS[@]}"; do ip netns del "${NS[$name]}" 2>/dev/null; done
	NS=()
}

# netns NAME: one namespace with nothing in it but lo.
netns() {
	NS[$1]=ebb$$-$1
	ip netns add "${NS[$1]}" && ip -n "${NS[$1]}" link set lo up
}
netns_gone() { ip netns del "${NS[$1]}"; unset "NS[$1]"; }
within_ns() { nsenter --net="/run/netns/${NS[$1]}" "${@:2}"; }
# set_net NAME KEY=VALUE…: of net.ipv4.
set_net() {
	local name=$1 setting
	shift
	for setting; do within_ns "$name" sh -c 'echo "$2" >"/proc/sys/net/ipv4/$1"' sh "${setting%%=*}" "${setting#*=}"; done
}
# set_range NAME LOW-HIGH [RESERVED]
set_range() { set_net "$1" "ip_local_port_range=${2/-/ }" ${3:+"ip_local_reserved_ports=$3"}; }

# lab NAME RANGE [RESERVED]
lab() {
	netns "$1" && netns "$1-srv" || return 1
	ip link add v0 netns "${NS[$1]}" type veth peer name v0 netns "${NS[$1-srv]}" || return 1
	ip -n "${NS[$1]}" -b - <<-CLIENT || return 1
	addr add 10.77.0.1/24 dev v0
	addr add 10.77.0.5/24 dev v0
	addr add fd00:77::1/64 dev v0 nodad
	link set v0 up
	neigh add 10.77.0.9 lladdr 02:00:00:77:00:09 nud permanent dev v0
	CLIENT
	ip -n "${NS[$1-srv]}" -b - <<-SERVER || return 1
	addr add 10.77.0.2/24 dev v0
	addr add 10.77.0.3/24 dev v0
	addr add fd00:77::2/64 dev v0 nodad
	link set v0 up
	SERVER
	set_range "$@" && set_net "$1" tcp_tw_reuse=0
}

# client HANDLE NAME [PROGRAM]: a portlab there, on LAB_CPU: on two, packets of a connection that ends can overtake each
# other, the server answers by RST, and that ends a TIME_WAIT (about one in a thousand).
client() {
	start "$1" taskset -c "$LAB_CPU" nsenter --net="/run/netns/${NS[$2]}" "${3:-$PROGRAMS/portlab}" && await "$1" '^ready'
}
# serve NAME ADDR PORT WORD…: listens there, in the one server of a lab (handle NAME-srv).
serve() {
	[ -n "${PID[$1-srv]:-}" ] || client "$1-srv" "$1-srv" || return 1
	ask "$1-srv" "listen ${*:2}" '^listen ' && [ "$(counted "$1-srv" fail)" = 0 ]
}

# counted HANDLE KEY: a figure of its last answer; 0 when it is not in there.
counted() {
	awk -v key="$2" '/^(connect|bind|send|listen|drop) / { line = $0 } END {
		n = split(line, w, " ")
		for (i = 2; i <= n; i++) if (index(w[i], key "=") == 1) { print substr(w[i], length(key) + 2); exit }
		print 0
	}' "${OUT[$1]}"
}
# failed_at HANDLE ERRNO: when the first failed, in seconds of CLOCK_MONOTONIC.
failed_at() { awk -v err="$2" '$1 == "failing" && $2 == err { sub(/^at=/, "", $3); print $3; exit }' "${OUT[$1]}"; }

# does NAME HANDLE COMMAND KEY=WANT…: tells it and compares what it says with what is expected: the lab is as it should.
does() {
	local name=$1 handle=$2 want got=
	ask "$handle" "$3" "^${3%% *} " 120 || { not_ok "$name" "no answer to $3"; return 1; }
	shift 3
	for want; do got+=${got:+ }${want%=*}=$(counted "$handle" "${want%=*}"); done
	is "$name" "$got" "$*"
}

# TIME_WAIT as the kernel has it: of the namespace; towards ADDR:PORT.
kernel_tw() { within_ns "$1" awk '$1 == "TCP:" { for (i = 2; i < NF; i++) if ($i == "tw") print $(i + 1) }' /proc/net/sockstat; }
kernel_tw_to() { within_ns "$1" ss -Htan state time-wait dst "$2" | wc -l; }

# --- JSON ---

# CLOCK_MONOTONIC seconds at which a file was last written.
written_at() {
	"$PYTHON" -c 'import os, sys, time; print("%.3f" % (os.stat(sys.argv[1]).st_mtime - time.time() + time.monotonic()))' "$1"
}

# The names that expressions know: doc; ns(LAB) and d(LAB, REMOTE, PORT, LOCAL): one namespace, one destination;
# dests(LAB): all of a lab; o(DEST, PID): the owner group with this process; pool(LAB, LOCAL, KIND); near(VALUE, PERCENT),
# some(…): equal to any of these; like(REGEX).
JSON_NAMES='
import json, re, sys
doc = json.load(open(sys.argv[1]))
prefix = sys.argv[2]
class Lacking(Exception): pass
def one(found, what):
    if len(found) != 1: raise Lacking("%d %s" % (len(found), what))
    return found[0]
def ns(lab): return one([n for n in doc["namespaces"] if n["name"] == prefix + lab], "namespaces " + prefix + lab)
def dests(lab): return [d for d in doc["destinations"] if d["namespace_name"] == prefix + lab]
def d(lab, remote="10.77.0.2", port=8080, local=None):
    return one([d for d in dests(lab) if d["remote"] == remote and d["port"] == port and local in (None, d["local"])],
               "destinations %s %s:%s" % (lab, remote, port))
def o(dest, pid):
    return one([o for o in dest["owners"] if pid in [p["pid"] for p in o["processes"]]], "owners with pid %d" % pid)
def has(dest, pid): return any(pid == p["pid"] for o in dest["owners"] for p in o["processes"])
def process(owner, pid): return one([p for p in owner["processes"] if p["pid"] == pid], "processes %d" % pid)
def pool(lab, local, kind="bind_pools"):
    return one([p for p in ns(lab)[kind] if p["local"] == local], "%s of %s" % (kind, local))
class near:
    def __init__(self, value, percent): self.value, self.percent = value, percent
    def __eq__(self, got): return got is not None and abs(got - self.value) <= self.value * self.percent / 100
    def __repr__(self): return "%s within %s %%" % (self.value, self.percent)
class some:
    def __init__(self, *values): self.values = values
    def __eq__(self, got): return got in self.values
    def __repr__(self): return " or ".join(map(repr, self.values))
class like:
    def __init__(self, regex): self.regex = regex
    def __eq__(self, got): return got is not None and re.search(self.regex, str(got)) is not None
    def __repr__(self): return "like /%s/" % self.regex
'

# json FILE EXPR: its value.
json() { "$PYTHON" -c "$JSON_NAMES"'print(eval(sys.argv[3]))' "$1" "ebb$$-" "$2"; }

# json_is PREFIX FILE: a result for each line of standard input, `NAME EXPR == WANT`, both of them Python; without
# `==` the expression must be true.
json_is() {
	"$PYTHON" -c "$JSON_NAMES"'
bad = False
for line in sys.stdin:
    name, _, rest = line.strip().partition(" ")
    if not name or name.startswith("#"): continue
    name = sys.argv[3] + "." + name
    expr, has_want, want = rest.rpartition(" == ")
    try:
        got, want = (eval(expr), eval(want)) if has_want else (eval(rest), True)
        good = got == want if has_want else bool(got)
        why = "got %r, want %r (%s)" % (got, want, expr or rest)
    except Exception as e:
        good, why = False, "%s: %s (%s)" % (type(e).__name__, e, rest.strip())
    print("ok " + name if good else "not ok %s: %s" % (name, why))
    bad = bad or not good
sys.exit(bad)' "$2" "ebb$$-" "$1" || failed=1
}

# --- forecasts ---

# forecast HANDLE LAB CLIENT…: waits for a look (HANDLE, -f json), then see forecast_met.
forecast() {
	wait_end "$1"
	is "ports.forecast.$1.status" "$STATUS" 0 || { show "$WORK/$1.err"; return 1; }
	forecast_met "$1" "$2" EADDRNOTAVAIL "${@:3}"
}
# forecast_met HANDLE LAB ERRNO CLIENT…: what the look's end said is left is within 10 % of what was left until the
# first of the clients failed.
forecast_met() {
	local handle=$1 lab=$2 error=$3 name=ports.forecast.$1 full_in_s ended failed_at client
	shift 3
	full_in_s=$(json "$WORK/$handle.out" "d('$lab')['full_in_s']" 2>/dev/null)
	[[ $full_in_s =~ ^[0-9.]+$ ]] || { not_ok "$name" "no forecast: '$full_in_s'"; show "$WORK/$handle.err"; return 1; }
	ended=$(written_at "$WORK/$handle.out")
	for client; do await "$client" "^failing $error " 180 || { not_ok "$name" "the lab did not run out of ports"; return 1; }; done
	failed_at=$(for client; do failed_at "$client" "$error"; done | sort -n | head -n 1)
	note "$handle: $full_in_s s left at $ended, really until $failed_at"
	check "$name" "not within 10 % of when it happened" \
		within "$full_in_s" "$(awk -v a="$ended" -v b="$failed_at" 'BEGIN { print b - a }')" 10
}
