#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# beside: waiting
# `ebb ports` with more short-lived processes than its books have room for at once: those that have ended make room,
# and what they did stays in the totals.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netlab.sh"
need_lab
need_ebb

lab many 40000-49999 && serve many 10.77.0.2 8080 accept=first || finish
attached_or_fail many.attach look ports --netns "/run/netns/${NS[many]}" --max-memory 1M -f json || finish

# CNT processes that each connect once; the server closes first, so no TIME_WAIT is left here.
connects() {
	nsenter --net="/run/netns/${NS[many]}" bash -c '
		for ((i = 0; i < $1; i++)); do
			bash -c "exec 3<>/dev/tcp/10.77.0.2/8080 && read -r -u 3" || true
		done' bash "$1"
}

# 1M is room for 512 flows
for round in 1 2 3; do
	connects 300
	[ "$round" = 3 ] || for _ in {1..9}; do tick 1; done	# ebb closes what has been quiet for 5 s
done
stop look
is many.status "$STATUS" 0
json_is many "$WORK/look.out" <<'END'
lost doc["lost"] == 0
attempts sum(x["attempts"] for x in doc["destinations"] if x["port"] == 8080) == 900
closed sum(x["closed_by_peer"] for x in doc["destinations"] if x["port"] == 8080) == 900
processes sum(len(o["processes"]) for x in doc["destinations"] for o in x["owners"]) == 900
END

attached_or_fail many.folded.attach folded ports --netns "/run/netns/${NS[many]}" --max-memory 1M -f folded || finish
connects 300
for _ in {1..9}; do tick 1; done
connects 300
stop folded
is many.folded.status "$STATUS" 0
is many.folded.total "$(folded_total "$WORK/folded.out")" 600
finish
