#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Unwind rows of real files are what readelf makes of their call frame information.
. "$(dirname "$0")/lib.sh"
ROWS=$(dirname "$PROGRAMS")/unwind/rows
[ "$(uname -m)" = x86_64 ] || { skip ehframe "rows are for x86-64"; finish; }
[ -x "$ROWS" ] || { not_ok ehframe.rows "$ROWS is not there"; finish; }
for tool in readelf python3 ldd; do
	command -v "$tool" >/dev/null || { skip ehframe "$tool is not installed"; finish; }
done

# compare NAME FILE CNT: at CNT random addresses.
compare() {
	local name=ehframe.$1
	[ -n "$2" ] && [ -e "$2" ] || { skip "$name" "not installed"; return; }
	"$ROWS" "$2" >"$WORK/$1.rows" || { not_ok "$name" "no rows"; return; }
	LC_ALL=C readelf --debug-dump=frames-interp "$2" >"$WORK/$1.readelf" 2>/dev/null
	if python3 "$ROOT/tests/unwind/same_rows.py" "$WORK/$1.rows" "$WORK/$1.readelf" "$3" >"$WORK/$1.out"; then
		note "$1: $(tail -n 1 "$WORK/$1.out")"
		ok "$name"
	else
		not_ok "$name" "$(tail -n 1 "$WORK/$1.out")"
		show "$WORK/$1.out"
	fi
}

# A library of the test programs, by the beginning of its name; the loader stands in ldd's list with its path.
library() {
	ldd "$PROGRAMS/server" "$PROGRAMS/newthrow" 2>/dev/null |
		awk -v name="$1" 'index($1, name) && /=>/ { print $3; exit } index($1, "/" name) { print $1; exit }'
}

compare libc "$(library libc.so.6)" 10000
compare libstdcxx "$(library libstdc++.so)" 10000
compare ld.so "$(library ld-linux)" 10000
compare libcrypto "$(ls -d /usr/lib/*/libcrypto.so.3 /usr/lib64/libcrypto.so.3 2>/dev/null | head -n 1)" 10000
compare ebb "$EBB" 10000
compare static "$PROGRAMS/allocs-static" 10000
compare musl "$PROGRAMS/allocs-musl" 2000
finish
