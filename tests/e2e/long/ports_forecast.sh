#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# When ports run out, at more rates: what `ebb ports` says in the middle against when connect() first fails.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../netlab.sh"
need_lab
need_ebb

# NAME RANGE LOOK_AT CLIENT…: a client's words; the look lasts 8 s and begins at that second.
runs=(
	"fast    32768-44767 8  rate=400"
	"medium  40000-43999 8  rate=200"
	"slow    40000-40299 20 rate=5,close=never"
	"few     40000-40031 12 rate=1,close=never"
	"two     40000-41999 12 rate=30 rate=20,close=never"
	"given   40000-42499 20 rate=20 rate=30,close=never"
	"after   40000-41999 70 rate=15 rate=12,close=never"
	"bound   40000-41499 8  rate=50,way=bind,from=10.77.0.1,close=never"
)

for run in "${runs[@]}"; do
	read -r name range _ clients <<<"$run"
	lab "$name" "$range" && serve "$name" 10.77.0.2 8080 || finish
	i=0
	for words in $clients; do
		client "$name$i" "$name" || finish
		i=$((i + 1))
	done
done
start_s=$SECONDS
for run in "${runs[@]}"; do
	read -r name _ _ clients <<<"$run"
	i=0
	for words in $clients; do
		tell "$name$i" "connect 10.77.0.2 8080 n=100000 until=fail ${words//,/ }"
		i=$((i + 1))
	done
done
# In the order of their beginning, and what each said as soon as its look has ended.
for run in "${runs[@]}"; do
	read -r name _ at _ <<<"$run"
	printf '%s begin %s\n%s end %s\n' "$at" "$name" "$((at + 10))" "$name"
done | sort -sn >"$WORK/plan"
while read -r -u 9 at what name; do
	while ((SECONDS - start_s < at)); do tick 0.1; done
	if [ "$what" = begin ]; then
		start "$name-look" "$EBB" ports --netns "/run/netns/${NS[$name]}" -d 8s -f json
	else
		wait_end "$name-look"
		is "ports.forecast.$name.status" "$STATUS" 0 || show "$WORK/$name-look.err"
	fi
done 9<"$WORK/plan"
for run in "${runs[@]}"; do
	read -r name _ _ clients <<<"$run"
	# bind() fails with another error.
	[ "$name" = bound ] && error=bind:EADDRINUSE || error=EADDRNOTAVAIL
	forecast_met "$name-look" "$name" "$error" $(i=0; for _ in $clients; do echo "$name$i"; i=$((i + 1)); done)
done
finish
