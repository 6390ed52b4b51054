#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 180
# Code that comes and goes while ebb looks: libraries that are loaded and unloaded, where others stood, and replaced on disk.
# Each function has what it took itself, and never a byte of another's.
. "$(dirname "$0")/lib.sh"
need_ebb

RED=$PROGRAMS/plugin-red.so BLUE=$PROGRAMS/plugin-blue.so	# blocks of 1,000 and of 1,001 bytes
NOTICED=400	# ms in which ebb has learned of what was loaded; until then stacks through it are cut, and their names end in ?

# sum FILE REGEX: of the stacks that match.
sum() { awk -v re="$2" '{ n = $NF; sub(/ [0-9]+$/, "") } $0 ~ re { sum += n } END { print sum + 0 }' "$1"; }

# took NAME FUNCTION BYTES CNT USES: whole stacks, down to the program's first function, of blocks of so many bytes. The
# first block of each use is taken before ebb has noticed, or not.
took() {
	local bytes
	bytes=$(sum "$WORK/leak.out" "_start;.*main;use;plugin_take;$2$")
	check "$1.$2" "$bytes bytes, not $4 to $(($4 + $5)) blocks of $3" \
		test $((bytes >= $3 * $4 && bytes <= $3 * ($4 + $5) && bytes % $3 == 0)) = 1
}

# never_wrong NAME: under each function there are blocks of its size only (of fewer than a thousand, one of 1,000 and one of
# 1,001 bytes can be told apart by the sum), and no stack has functions of both. A name that is a guess ends in ?.
never_wrong() {
	is "$1.never-red" $(($(sum "$WORK/leak.out" 'red_inner$') % 1000)) 0
	is "$1.never-blue" $(($(sum "$WORK/leak.out" 'blue_inner$') % 1001)) 0
	check "$1.never-both" "a stack with functions of both" eval "! grep -E 'red.*blue|blue.*red' '$WORK/leak.out'"
}

# same_place: all addresses that the program has told are one.
same_place() { [ "$(grep -oE '0x[0-9a-f]+' "${OUT[plugins]}" | sort -u | wc -l)" = 1 ]; }

# --- one where another stood ---
if plugins_watched replaced.turns "" "use $RED 40 $NOTICED" "use $BLUE 30 $NOTICED" "use $RED 20 $NOTICED" "use $BLUE 10 $NOTICED"; then
	check replaced.turns.place "they were not at one place: nothing was tried" same_place
	took replaced.turns red_inner 1000 60 2
	took replaced.turns blue_inner 1001 40 2
	never_wrong replaced.turns
fi

# --- faster than anybody could notice: what is not known is said not to be ---
if plugins_watched replaced.loop "" "loop $RED $BLUE 400"; then
	check replaced.loop.place "they were not at one place: nothing was tried" same_place
	never_wrong replaced.loop
	all=$(sum "$WORK/leak.out" .) others=$(sum "$WORK/leak.out" '_dl_|dlerror|setvbuf|fgets')
	check replaced.loop.all "$((all - others)) bytes, not $((800 * 2001))" within $((all - others)) $((800 * 2001)) 1
	note "figure replaced.loop.known $(($(sum "$WORK/leak.out" '(red|blue)_inner$') / 1000)) of 1600"
	check replaced.loop.cut "stacks are not whole, and it is not said" says replaced.loop.said "$WORK/leak.err" 'cut|incomplete'
fi

# --- a file that is another one by now: by a new inode, and in place ---
cp "$RED" "$WORK/lib.so"
if plugins_watched replaced.disk "" "use $WORK/lib.so 40 $NOTICED" "sh cp '$BLUE' '$WORK/new.so'; mv '$WORK/new.so' '$WORK/lib.so'" \
	"use $WORK/lib.so 30 $NOTICED" "sh cat '$RED' >'$WORK/lib.so'" "use $WORK/lib.so 20 $NOTICED"; then
	took replaced.disk red_inner 1000 60 2
	took replaced.disk blue_inner 1001 30 1
	never_wrong replaced.disk
fi

# --- and one that is gone while it is used ---
cp "$BLUE" "$WORK/gone.so"
if plugins_watched replaced.gone "" "sh { sleep 0.2; rm '$WORK/gone.so'; } &" "use $WORK/gone.so 30 $((NOTICED + 200))"; then
	took replaced.gone blue_inner 1001 30 1
fi
finish
