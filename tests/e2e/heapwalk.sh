#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# The walk of glibc's malloc heap from outside, against mallinfo2() and what programs know of their own blocks.
. "$(dirname "$0")/lib.sh"
WALK=$ROOT/build/tests/heap/walk
[ -x "$WALK" ] || { not_ok heapwalk "$WALK is not there"; finish; }

# lab NAME [ENV=VALUE…] PROGRAM [ARGUMENT]: in `lab`.
lab() {
	local name=$1
	shift
	start lab env "$@"
	await lab '^ready' || { not_ok "$name" "does not start"; return 1; }
}
do_all() { local line; for line; do ask lab "$line" "^ok ${line%% *}" 60 || return 1; done; }

# look NAME [PID]: one walk of the lab into $WORK/walk, its sum's numbers into W, those of the last `info` into I.
declare -A W I
look() {
	local word
	W=() I=()
	"$WALK" "${2:-${PID[lab]}}" >"$WORK/walk" 2>&1 || { not_ok "$1" "cannot walk"; show "$WORK/walk"; return 1; }
	for word in $(sed -n -e 's/^walk //p' -e 's/^sum //p' "$WORK/walk"); do
		case $word in
		*=*/*) W[${word%%=*}]=${word#*=} W[${word%%=*}]=${W[${word%%=*}]%/*} W[${word%%=*}.cnt]=${word#*/} ;;
		*) W[${word%%=*}]=${word#*=} ;;
		esac
	done
	for word in $(sed -n 's/^info //p' "${OUT[lab]}" 2>/dev/null | tail -n 1); do I[${word%%=*}]=${word#*=}; done
}

# agree NAME: the lab, which waits, and a walk of it say the same of all that mallinfo2() knows, to the byte.
agree() {
	local name=$1 main got want
	do_all info && look "$name" || return 1
	main=$(sed -n 's/^arena .* main=1 .* top=\([0-9]*\) .*/\1/p' "$WORK/walk" | head -n 1)
	got="${W[tiles]} ${W[changed]} ${W[system]} $((W[free] + W[fast] + W[top])) $((W[used] + W[cached] + W[own] + W[unseen]))"
	got+=" $((W[free.cnt] + W[arenas])) ${W[fast.cnt]} ${W[fast]} ${W[mmapped]} ${W[mmapped.cnt]} $main"
	want="1 0 ${I[arena]} ${I[fordblks]} ${I[uordblks]} ${I[ordblks]} ${I[smblks]} ${I[fsmblks]} ${I[hblkhd]} ${I[hblks]} ${I[keepcost]}"
	is "$name" "$got" "$want" || show "$WORK/walk"
}
# The same, and the blocks that came since `base` are those that it holds, to the byte: so caches of threads are seen too.
base() { do_all info && look base && BASE_BYTES=$((W[used] - I[bytes])) BASE_CNT=$((W[used.cnt] - I[blocks])); }
agree_blocks() {
	agree "$1" || return 1
	is "$1.blocks" "$((W[used] - BASE_BYTES)) $((W[used.cnt] - BASE_CNT))" "${I[bytes]} ${I[blocks]}"
}
# What a walk must leave as it is. Page table entries are counted one by one: that of a page of zeros is in no other figure.
state_of() {
	local start end
	while read -r start end; do
		dd if="/proc/$1/pagemap" bs=$(((16#$end - 16#$start) / 512)) skip=$((16#$start / 512)) count=1 iflag=skip_bytes status=none
	done < <(sed -n 's/^\([0-9a-f]*\)-\([0-9a-f]*\) rw.p .*/\1 \2/p' "/proc/$1/maps") | od -An -v -tx8 -w8 | grep -c '^ [89a-f]'
	sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 8,10
	grep -E '^(Rss|Pss_Dirty|Anonymous|Swap):' "/proc/$1/smaps_rollup"
	grep -E '^VmPTE' "/proc/$1/status"
}

one_thread() {	# NAME COMMAND…
	local name=$1
	shift
	lab "$name" "$@" || return
	base
	do_all "fill 40000 1200 40" && agree_blocks "$name.bins"
	do_all "fill 20000 120 50" && agree_blocks "$name.fast"
	do_all trim && agree_blocks "$name.trimmed"
	do_all "fill 0 16 100" && agree_blocks "$name.empty"
	stop lab TERM
}
one_thread dynamic "$PROGRAMS/heaplab"
[ "${W[fast.cnt]}" = 0 ] || note "fast chunks were left: ${W[fast.cnt]}"
one_thread static "$PROGRAMS/heaplab-static-stripped"
one_thread cacheless GLIBC_TUNABLES=glibc.malloc.tcache_count=0 "$PROGRAMS/heaplab"
is cacheless.cached "${W[cached]} ${W[cached.cnt]}" "0 0"
one_thread largecache GLIBC_TUNABLES=glibc.malloc.tcache_count=5000 "$PROGRAMS/heaplab"

# Several arenas, with several heaps each; blocks of one arena in the cache of another's thread; threads that are gone.
lab arenas "$PROGRAMS/heaplab" && do_all "threads 3" && base && {
	do_all "fill 90000 1600 30" && agree_blocks arenas.full
	# What people get of it.
	"$EBB" mem "${PID[lab]}" -f json >"$WORK/mem.json" 2>"$WORK/mem.err"
	is arenas.mem "$(python3 -c 'import json, sys; h = json.load(open(sys.argv[1]))["glibc_heap"]
print(*(h[k] for k in "arenas used_bytes used_blocks free_bytes cached_bytes top_bytes returnable_bytes".split()))' "$WORK/mem.json")" \
		"${W[arenas]} ${W[used]} ${W[used.cnt]} ${W[free]} $((W[cached] + W[fast])) ${W[top]} ${W[trim]}"
	check arenas.count "not 4 arenas, or not several heaps" test "${W[arenas]}" = 4 -a "${W[heaps]}" -gt 5
	do_all cross && agree_blocks arenas.cross
	check arenas.cached "nothing is cached: this proves nothing" test "${W[cached.cnt]}" -gt 100
	check arenas.fast "nothing is in fastbins: this proves nothing" test "${W[fast.cnt]}" -gt 100
	do_all "fill 10 16 80" && agree_blocks arenas.freed
	do_all end && agree arenas.end
	do_all trim && agree arenas.trimmed
	stop lab TERM
}
lab single MALLOC_ARENA_MAX=1 "$PROGRAMS/heaplab-static" && do_all "threads 3" "fill 20000 900 50" && {
	agree single
	is single.arenas "${W[arenas]}" 1
	stop lab TERM
}

# Blocks with mappings of their own are malloc's own count.
lab mapped "$PROGRAMS/heaplab" mmap && do_all "big 1000000" "big 3000000" "fill 1000 400 0" && {
	agree mapped
	is mapped.cnt "${W[mmapped.cnt]}" 2
	stop lab TERM
}

# Somebody else's sbrk() in the middle, more than once; and a heap that brk has no more room for.
lab foreign "$PROGRAMS/heaplab" && do_all "fill 1000 300 20" "sbrk 12345" "fill 3000 300 20" "sbrk 70000" "fill 3000 300 50" && {
	agree foreign
	check foreign.unseen "the other's memory is not in unseen" test "${W[unseen]}" -ge $((12345 + 70000))
	stop lab TERM
}
lab wall "$PROGRAMS/heaplab" && do_all "fill 1000 300 20" "wall 300000" "fill 9000 300 30" && {
	agree wall
	# the stack of a thread, and what another one mapped, are in one mapping with what the arena had before them
	do_all "threads 1" "fill 9000 300 30" && agree wall.threads
	is wall.unseen "${W[unseen]}" 0
	stop lab TERM
}

# What malloc_trim(0) gives back is what was said; and the walk changes nothing, neither the target's memory nor its counters.
for what in main arenas; do
	lab "return.$what" "$PROGRAMS/heaplab" && {
		[ $what = main ] || do_all "threads 2"
		do_all "fill 60000 3000 20" "fill 0 16 55" "fill 9000 120 60" "big 50000000"
		"$WALK" "${PID[lab]}" 0		# opening a target reads its vdso, for ever
		state_of "${PID[lab]}" >"$WORK/before"
		look "return.$what" && "$WALK" "${PID[lab]}" 5 >/dev/null
		state_of "${PID[lab]}" >"$WORK/after"
		check "return.$what.harmless" "$(diff "$WORK/before" "$WORK/after" | tr '\n' ' ')" cmp -s "$WORK/before" "$WORK/after"
		check "return.$what.sparse" "an untouched block of 50 MB is not in it" test $((W[resident] + 50000000)) -le $((W[system] + 65536))
		do_all trim
		read -r _ before after < <(grep '^trimmed' "${OUT[lab]}")
		is "return.$what" "${W[trim]}" $((before - after))
		check "return.$what.much" "nothing was given back: this proves nothing" test "${W[trim]}" -gt 1000000
		stop lab TERM
	}
done

# Under churn: each walk either tiles or says why not; what does not tile is not in the sum.
lab churn "$PROGRAMS/heaplab" && do_all "threads 3" "fill 3000 2000 30" churn && {
	"$WALK" "${PID[lab]}" 20 >"$WORK/churn.walks" 2>&1
	tiles=$(lines_cnt "$WORK/churn.walks" '^walk tiles=1 ')
	told=$(lines_cnt "$WORK/churn.walks" '^why .')
	is churn.walks "$((tiles + told)) $(lines_cnt "$WORK/churn.walks" '^walk tiles=0 ')" "20 $told" || show "$WORK/churn.walks"
	note "under churn $tiles of 20 walks tile, $(lines_cnt "$WORK/churn.walks" '^arena .* changed=1 ') arenas changed"
	says churn.changed "$WORK/churn.walks" '^walk tiles=1 changed=1 '
	alive "${PID[lab]}" && ok churn.alive || not_ok churn.alive "it died"
	do_all calm && agree churn.calm
	stop lab TERM
}

# Refused, with the reason.
refused() {	# NAME WHY COMMAND…
	local name=$1 why=$2
	shift 2
	start other env "$@"
	until_true 10 has_line "${OUT[other]}" . || true
	look "$name" "${PID[other]}" && says "$name" "$WORK/walk" "^why .*$why" && is "$name.tiles" "${W[tiles]} ${W[system]}" "0 0"
	stop other KILL
}
jemalloc=$(ldconfig -p | sed -n 's/.* => \(.*libjemalloc\.so\..*\)/\1/p' | head -n 1)
if [ -n "$jemalloc" ]; then refused jemalloc 'no arena of glibc.*the process has libjemalloc' LD_PRELOAD="$jemalloc" "$PROGRAMS/allocs"
else skip jemalloc "there is no libjemalloc here"; fi
if [ -x "$PROGRAMS/allocs-musl" ]; then refused musl 'no arena of glibc' "$PROGRAMS/allocs-musl"
else skip musl "there is no musl-gcc here"; fi
"$WALK" $$ >/dev/null 2>"$WORK/self.err" && ok shell.walks || { not_ok shell.walks "a walk of this shell failed"; show "$WORK/self.err"; }
"$WALK" 999999999 >/dev/null 2>"$WORK/none.err"
is none.status $? 1

# redis on glibc's malloc (it is built for jemalloc, which the first libc in the search order takes the place of). Comparable are
# used_memory: what it holds by malloc_usable_size(), 8 bytes less than each chunk and 16 less than each mapping; and
# used_memory_rss, which has the files' pages as well. Its allocator_… figures are jemalloc's and say nothing here.
redis_look() {
	"${CLI[@]}" info memory | tr -d '\r' >"$WORK/redis.info"
	look "$1" "${PID[redis]}" || return 1
	R_USED=$(sed -n 's/^used_memory://p' "$WORK/redis.info") R_RSS=$(sed -n 's/^used_memory_rss://p' "$WORK/redis.info")
	check "$1.used" "used_memory $R_USED" within $((W[used] - 8 * W[used.cnt] + W[mmapped] - 16 * W[mmapped.cnt])) "$R_USED" "$2"
	check "$1.rss" "used_memory_rss $R_RSS" within $((W[resident] + W[mmapped])) "$R_RSS" 10
}
libc=$(ldconfig -p | sed -n 's/.*libc\.so\.6 .*64.* => //p' | head -n 1)
if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null || [ -z "$libc" ]; then
	skip redis "redis-server, redis-cli or libc.so.6 was not found"
else
	CLI=(redis-cli -s "$WORK/redis.sock")
	start redis env LD_PRELOAD="$libc" redis-server --port 0 --unixsocket "$WORK/redis.sock" --save '' --enable-debug-command yes
	until_true 30 "${CLI[@]}" ping >/dev/null 2>&1
	"${CLI[@]}" debug populate 500000 key 300 >/dev/null && redis_look redis.full 10
	"${CLI[@]}" eval "for i=0,499999 do if i%3~=0 then redis.call('del','key:'..i) end end" 0 >/dev/null && redis_look redis.holes 10
	check redis.holes.free "the holes are not seen" within "$((W[free] + W[fast]))" $((W[system] * 2 / 3)) 10
	"${CLI[@]}" flushall sync >/dev/null && look redis.flushed "${PID[redis]}"
	check redis.flushed "what was flushed is not free and resident" within "${W[trim]}" "${W[system]}" 10
	stop redis TERM
fi

finish
