#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The makefile: builds are incremental in both directions, install puts things where they belong, no compiler warns.
#
# Works on copies. What is asked of the rules is asked of a small tree, the real makefile with base/, a main() and a few
# files of its own whose includes are known; the compilers see the real tree.
#
# timeout: 300
set -u
# make check runs this: its jobserver and variables are not for the builds below.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES O CC CLANG CFLAGS LDFLAGS BPFTOOL PREFIX DESTDIR V
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
TOP=$PWD
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
small=$work/small full=$work/full
mkdir "$small" "$full"

# check NAME GOT WANT
check()
{
	if [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		printf 'got:\n%s\nwant:\n%s\n' "$2" "$3"
		[ ! -s "$work/log" ] || tail -n 20 "$work/log"
		echo "not ok $1"
	fi
}

# What make did: sorted words like CC:user/base/log.c, and its exit code if that is not 0.
build()
{
	local err=0

	make -j2 "$@" > "$work/log" 2>&1 || err=$?
	{
		[ "$err" = 0 ] || echo "exit:$err"
		sed -n 's/^  \(CC\|LINK\|BPF\|SKEL\) *\([^ ]*\)$/\1:\2/p' "$work/log"
	} | sort | paste -sd ' '
}

# Sources from an hour ago, everything built from them half an hour ago: what is changed after that is newer than both,
# whatever the resolution of the file system's time.
settle()
{
	find . -path ./build -prune -o -type f -exec touch -d '1 hour ago' {} +
	find build -type f -exec touch -d '30 minutes ago' {} +
}

words() { tr ' ' '\n' | sort | paste -sd ' '; }

if [ -e .git ] && command -v git > /dev/null; then
	git -c safe.directory="$TOP" ls-files -co --exclude-standard
else
	find . -type f ! -path './build/*' | sed 's,^\./,,'
fi | while IFS= read -r f; do [ -f "$f" ] && printf '%s\n' "$f"; done | tar -cf - -T - | tar -xf - -C "$full"

# The small tree. probe_one.c reaches probe_inner.h through probe_outer.h; probe_two.c includes nothing.
cd "$small" || exit 1
mkdir -p user/source user/elf bpf tests/programs tools
cp -r "$full/Makefile" "$full/vmlinux" .
cp -r "$full/user/base" user/
cp -r "$full/tools/man" tools/
echo 'programs:' > tests/programs/programs.mk
mkdir -p tests/bench tests/unwind tests/symbol tests/heap tests/series tests/vm tests/fuzz
echo 'benches:' > tests/bench/bench.mk
echo 'unwind-tools:' > tests/unwind/unwind.mk
echo 'symbol-tools:' > tests/symbol/symbol.mk
echo 'series-tools:' > tests/series/series.mk
echo 'heap-tools:' > tests/heap/heap.mk
echo 'vm-programs:' > tests/vm/vm.mk
echo 'fuzzers:' > tests/fuzz/fuzz.mk
echo 'int main(void) { return 0; }' > user/main.c
echo '#define PROBE_INNER 1' > user/base/probe_inner.h
echo '#include "base/probe_inner.h"' > user/base/probe_outer.h
printf '#include "base/probe_outer.h"\nextern int probe_one;\nint probe_one = PROBE_INNER;\n' > user/elf/probe_one.c
printf 'extern int probe_two;\nint probe_two = 2;\n' > user/elf/probe_two.c
sources=$(echo user/*.c user/*/*.c)
everything=$(for f in $sources; do echo "CC:$f"; done | paste -sd ' ')
everything=$(echo "$everything LINK:build/ebb" | words)

check first-build "$(build build/ebb)" "$everything"
check nothing-to-do "$(build build/ebb)" ""
make -q build/ebb > /dev/null 2>&1
check make-q $? 0

settle
touch user/base/probe_inner.h
check header-through-header "$(build build/ebb)" "CC:user/elf/probe_one.c LINK:build/ebb"
settle
touch user/elf/probe_two.c
check source "$(build build/ebb)" "CC:user/elf/probe_two.c LINK:build/ebb"

# A real header: every file that names it is rebuilt, files that cannot reach it are not.
settle
touch user/base/log.h
rebuilt=$(build build/ebb)
check real-header "$(for f in $(grep -l '"base/log.h"' $sources); do
	case " $rebuilt " in *" CC:$f "*) ;; *) echo "$f" ;; esac; done)" ""
check real-header-others "$(grep -o 'CC:[^ ]*\(probe\|main\)[^ ]*' <<< "$rebuilt")" ""

# A header that goes together with its last mention must not stop the build.
settle
rm user/base/probe_outer.h
printf 'extern int probe_one;\nint probe_one = 3;\n' > user/elf/probe_one.c
check header-removed "$(build build/ebb)" "CC:user/elf/probe_one.c LINK:build/ebb"

check cflags-rebuild "$(build CFLAGS='-O0 -g' build/ebb)" "$everything"
check cflags-same "$(build CFLAGS='-O0 -g' build/ebb)" ""
check cflags-back "$(build build/ebb)" "$everything"
check ldflags-link "$(build LDFLAGS=-Wl,-O1 build/ebb)" "LINK:build/ebb"
check ldflags-back "$(build build/ebb)" "LINK:build/ebb"

has_symbol() { nm build/ebb | grep -q " $1\$" && echo yes || echo no; }
check source-in-program "$(has_symbol probe_two)" yes
rm user/elf/probe_two.c
check source-removed "$(build build/ebb)" "LINK:build/ebb"
check source-removed-from-program "$(has_symbol probe_two)" no
printf 'extern int probe_three;\nint probe_three = 3;\n' > user/elf/probe_three.c
check source-added "$(build build/ebb)" "CC:user/elf/probe_three.c LINK:build/ebb"
check source-added-to-program "$(has_symbol probe_three)" yes

# The kernel side: header -> object -> skeleton -> the source that includes it, and nothing else.
printf '#define PROBE_VALUE 1\n' > bpf/probe.bpf.h
printf '#include <vmlinux.h>\n#include "probe.bpf.h"\nint probe_value = PROBE_VALUE;\n' > bpf/probe.bpf.c
printf '#include <vmlinux.h>\nint unwind_value = 1;\n' > bpf/unwind.bpf.c
cat > user/source/probe.c <<'C'
#include <bpf/libbpf.h>
#include "probe.skel.h"
int probe_open(void);
int probe_open(void) { return !probe_bpf__open(); }
C
changed='BPF:bpf/probe.bpf.c CC:user/source/probe.c LINK:build/ebb SKEL:build/probe.skel.h'
check bpf-first "$(build build/ebb)" "$(echo "$changed BPF:bpf/unwind.bpf.c" | words)"
check bpf-nothing-to-do "$(build build/ebb)" ""
settle
touch bpf/probe.bpf.h
check bpf-header "$(build build/ebb)" "$changed"

# What cannot be compiled leaves nothing behind that the next build would take for good.
settle
echo '#error no' >> bpf/probe.bpf.h
check bpf-error "$(build build/ebb | grep -o 'exit:2')" exit:2
printf '#define PROBE_VALUE 2\n' > bpf/probe.bpf.h
check bpf-mended "$(build build/ebb)" "$changed"

make install DESTDIR="$work/dest" PREFIX=/opt/ebb > "$work/log" 2>&1
check install "$(cd "$work/dest" && find . -type f -printf '%m %p\n' | sort)" \
	"$(printf '644 ./opt/ebb/share/man/man8/ebb.8\n755 ./opt/ebb/bin/ebb')"
make clean > "$work/log" 2>&1
check clean "$(ls -d build 2> /dev/null)" ""
make -s O=elsewhere elsewhere/ebb > "$work/log" 2>&1
check other-folder "$(ls -d build elsewhere/ebb 2> /dev/null)" elsewhere/ebb

# The real tree with each compiler: objects only, and whatever either of them has to say.
cd "$full" || exit 1
no_warnings()
{
	local compiler=$1 out=out-$1 err=0

	make -j2 CC="$compiler" O="$out" $(for f in user/*.c user/*/*.c; do [ ! -f "$f" ] || echo "$out/${f%.c}.o"; done) \
		> "$work/log" 2>&1 || err=$?
	check "no-warnings-${compiler%%-*}" "$(grep -E '(warning|error): ' "$work/log" | head -n 20)/$err" /0
}
if command -v gcc > /dev/null; then no_warnings gcc; else echo "skip no-warnings-gcc: no gcc"; fi
clang=$(for c in clang-19 clang-18 clang-17 clang-16 clang; do command -v "$c" > /dev/null && { echo "$c"; break; }; done)
if [ -n "$clang" ]; then no_warnings "$clang"; else echo "skip no-warnings-clang: no clang"; fi
