#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Names, inlined functions and source lines of real files are what nm, readelf, objdump and addr2line make of them.
. "$(dirname "$0")/lib.sh"
NAMES=$(dirname "$PROGRAMS")/symbol/names
SAME=$ROOT/tests/symbol/same_names.py
need_root
[ -x "$NAMES" ] || { not_ok names.tool "$NAMES is not there"; finish; }
for tool in readelf objdump addr2line python3 ldd; do
	command -v "$tool" >/dev/null || { skip names "$tool is not installed"; finish; }
done

# same NAME MODE FILE CNT [DEBUGFILE]: ebb and the others say the same at CNT random addresses and more.
same() {
	local name=names.$1
	[ ! -e "${3:-}.failed" ] || { not_ok "$name" "it does not compile"; return; }
	[ -n "$3" ] && [ -e "$3" ] || { skip "$name" "not there"; return; }
	if python3 "$SAME" "$2" "$NAMES" "${@:3}" >"$WORK/$1.out" 2>&1; then
		note "$1: $(tail -n 1 "$WORK/$1.out")"
		ok "$name"
	else
		not_ok "$name" "$(tail -n 1 "$WORK/$1.out")"
		show "$WORK/$1.out"
	fi
}

# A library of the test programs, by the beginning of its name.
library() { ldd "$PROGRAMS/server" "$PROGRAMS/newthrow" 2>/dev/null | awk -v name="$1" 'index($1, name) && /=>/ { print $3; exit }'; }
# The file with the debug information of another, by its build id; fails without one.
debug_of() {
	local id
	id=$(readelf -n "$1" 2>/dev/null | awk '/Build ID:/ { print $3; exit }')
	id=/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug
	[ -e "$id" ] && echo "$id"
}
# alone FILE COPY: a copy with another build id, to which no debug file belongs.
alone() {
	python3 - "$(readlink -f "$1")" "$2" "$(readelf -n "$1" | awk '/Build ID:/ { print $3; exit }')" <<-'PYTHON'
	import sys
	data, old = open(sys.argv[1], 'rb').read(), bytes.fromhex(sys.argv[3])
	assert data.count(old) == 1
	open(sys.argv[2], 'wb').write(data.replace(old, bytes(b ^ 0xff for b in old)))
	PYTHON
}
# The real node, be it in a library.
node_file() {
	local node
	node=$(readlink -f "$(command -v node)") || return
	ldd "$node" | awk -v file="$node" '/libnode/ { file = $3 } END { print file }'
}

libc=$(library libc.so.6)
libc_debug=$(debug_of "$libc")
alone "$libc" "$WORK/libc-alone.so"

# build NAME COMPILER OPTION…: the C++ program, in the background; nothing without that compiler.
BUILDS=()
build() {
	[ -n "$2" ] && command -v "$2" >/dev/null || return
	"$2" -O2 "${@:3}" "$ROOT/tests/symbol/inlined.cc" -o "$WORK/$1" 2>"$WORK/$1.err" || {
		show "$WORK/$1.err"
		: >"$WORK/$1.failed"
	} &
	BUILDS+=($!)
}
done_building() { [ $# = 0 ] || wait "$@"; }
clang=$(for c in clang++-{19,18,17,16}; do command -v "$c" && break; done)
build g++ g++ -gdwarf-5
build g++-4 g++ -gdwarf-4 -ffunction-sections -Wl,--gc-sections
build g++-types g++ -gdwarf-5 -ffunction-sections -Wl,--gc-sections -fdebug-types-section -gz
build g++-lto g++ -g -flto
for n in 1 2; do build "dwz$n" g++ -gdwarf-4 -Wl,--build-id=sha1; done
build clang-4 "$clang" -gdwarf-4
build clang "$clang" -gdwarf-5

# --- symbol tables ---
same libc-alone tables "$WORK/libc-alone.so" 10000
same libstdcxx tables "$(library libstdc++.so)" 10000
if command -v node >/dev/null; then same node tables "$(node_file)" 10000; else skip names.node "node is not installed"; fi
same static tables "$PROGRAMS/allocs-static" 5000
same musl tables "$PROGRAMS/allocs-musl" 5000
same plt tables "$PROGRAMS/unwindlab-stripped" 1000
if echo 'int puts(const char *); int rand(void); int main(void) { return puts("") + rand(); }' |
	cc -x c -O2 -fcf-protection -Wl,-z,ibtplt -o "$WORK/ibt" - 2>/dev/null && strip "$WORK/ibt"; then
	same ibtplt tables "$WORK/ibt" 1000
else
	skip names.ibtplt "no linker that makes such a PLT"
fi

# mapping symbols; headers in the segment with code
if command -v aarch64-linux-gnu-gcc >/dev/null; then
	if aarch64-linux-gnu-gcc -O2 -g -static "$ROOT/tests/programs/allocs.c" -o "$WORK/arm64" 2>"$WORK/arm64.err"; then
		same arm64 tables "$WORK/arm64" 5000
	else
		not_ok names.arm64 "it does not compile"
		show "$WORK/arm64.err"
	fi
else
	skip names.arm64 "no compiler for it"
fi

# --- debug information ---
same lines-c lines "$EBB" 10000
if [ -n "$libc_debug" ]; then
	same libc tables "$libc" 10000 "$libc_debug"
	same lines-libc lines "$libc" 3000 "$libc_debug"
else
	skip names.libc "libc6-dbg is not installed"
fi
done_building "${BUILDS[@]}"
same lines-g++ lines "$WORK/g++" 10000
same lines-g++-4 lines "$WORK/g++-4" 5000
same lines-g++-lto lines "$WORK/g++-lto" 5000
# What addr2line 2.40 cannot read (type units; clang's indexed addresses and ranges) against the same code with what it can.
same lines-g++-types lines "$WORK/g++-types" 5000 "$WORK/g++-4"
same lines-clang lines "$WORK/clang" 5000 "$WORK/clang-4"

# --- what debug information has in common with that of others, in another file (dwz) ---
# in_debug_root COMMAND…: where /usr/lib/debug has that file and nothing else
in_debug_root() {
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs none /usr/lib/debug && mkdir -p /usr/lib/debug/.dwz/test &&
		cp "$0" /usr/lib/debug/.dwz/test/ && exec "$@"' "$WORK/common.debug" "$@"
}
if ! command -v dwz >/dev/null; then
	skip names.dwz "dwz is not installed"
elif ! cp "$WORK/dwz1" "$WORK/dwz1-plain" || ! (cd "$WORK" && dwz -m common.debug -M /usr/lib/debug/.dwz/test/common.debug dwz1 dwz2); then
	not_ok names.dwz "dwz fails"
elif ! in_debug_root true 2>/dev/null; then
	skip names.dwz "no mount namespace here"
else
	in_debug_root python3 "$SAME" lines "$NAMES" "$WORK/dwz1" 5000 "$WORK/dwz1-plain" >"$WORK/dwz.out" 2>&1
	is names.dwz $? 0 || show "$WORK/dwz.out"
	note "dwz: $(tail -n 1 "$WORK/dwz.out")"
	# without it: the function itself, with its line
	same dwz-alone tables "$WORK/dwz1" 5000
	nm "$WORK/dwz1" | awk '$2 == "T" { print $1 }' | "$NAMES" "$WORK/dwz1" >"$WORK/dwz-alone.names"
	says names.dwz-alone.line "$WORK/dwz-alone.names" '/inlined\.cc	[1-9][0-9]*	main$'
	says_not names.dwz-alone.unknown "$WORK/dwz-alone.names" '	\?$'
fi
finish
