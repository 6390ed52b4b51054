#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 60
# `ebb ports` in a pid namespace of its own, as in a container: processes have the numbers that they have there, and those
# outside have none. That may be one level down or two.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
need_ebb
unshare -pf --mount-proc true 2>/dev/null || { skip "$E2E" "no pid namespace can be made here"; finish; }

cp "$PROGRAMS/portlab" "$WORK/inside"
cp "$PROGRAMS/portlab" "$WORK/outside"
lab box 40000-40199 && serve box 10.77.0.2 8080 && client outside box "$WORK/outside" || finish

# The shell is pid 1 there: it starts ebb, then the client, and says their numbers.
cat >"$WORK/box.sh" <<'BOX'
"$EBB" ports --netns "/run/netns/$1" -f json -o "$2" 2>"$2.err" & ebb=$!
until grep -q ^attached "$2.err"; do kill -0 $ebb 2>/dev/null || exit 1; sleep 0.05; done
nsenter --net="/run/netns/$1" "$3" </proc/self/fd/0 & client=$!
echo "started $client"
wait $client
kill -TERM $ebb
wait $ebb
echo "ended $?"
BOX

for levels in 1 2; do
	box=(unshare -pf --mount-proc --kill-child)
	[ $levels = 1 ] || box+=("${box[@]}")
	start "box$levels" "${box[@]}" bash "$WORK/box.sh" "${NS[box]}" "$WORK/$levels.json" "$WORK/inside"
	if ! await "box$levels" '^started'; then
		show "$WORK/$levels.json.err"
		not_ok "ports_pidns.$levels.start" "it did not"
		finish
	fi
	await "box$levels" '^ready'
	inside=$(awk '$1 == "started" { print $2 }' "${OUT[box$levels]}")
	ask "box$levels" 'connect 10.77.0.2 8080 n=5' '^connect ' || true
	ask outside 'connect 10.77.0.2 8080 n=3' '^connect ' || true
	hush "box$levels"
	await "box$levels" '^ended' || { not_ok "ports_pidns.$levels.end" "it did not"; finish; }
	is "ports_pidns.$levels.status" "$(awk '$1 == "ended" { print $2 }' "${OUT[box$levels]}")" 0
	got=$("$PYTHON" - "$WORK/$levels.json" <<-'PY'
	import json, sys
	for d in json.load(open(sys.argv[1]))["destinations"]:
	    for o in d["owners"]:
	        print(o["comm"], ",".join(str(p["pid"]) for p in o["processes"]), o["attempts"], o["exe"])
	PY
	)
	note "$got"
	check "ports_pidns.$levels.inside" "no inside with pid $inside" \
		grep -q "^inside $inside 5 $WORK/inside$" <<<"$got"
	check "ports_pidns.$levels.outside" "outside is not there, or has a number" grep -Eq '^outside 0? ?3 ' <<<"$got"
done
finish
