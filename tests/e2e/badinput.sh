#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beside: waiting
# Bad input and bad luck: the right exit code and a message that says what is wrong and what to do. Never a
# crash, never a hang, never a raw escape sequence from somebody else's name.
. "$(dirname "$0")/lib.sh"
need_ebb

# expect NAME CODE REGEX ARGUMENT…: ebb ends with CODE (several: 1|2) and says REGEX on stderr, which has neither
# an escape nor the words of a crash in it.
expect() {
	local name=badinput.$1 code=$2 regex=$3
	shift 3
	ebb_run run "$@"
	if [[ $STATUS =~ ^($code)$ ]]; then ok "$name.status"; else not_ok "$name.status" "got $STATUS, want $code"; show "$WORK/run.err"; fi
	[ -z "$regex" ] || says "$name.says" "$WORK/run.err" "$regex"
	clean "$name"
}
clean() {
	check "$1.clean" "control characters or an internal error in what it says" \
		eval "! grep -aPq '[\\x00-\\x08\\x0b-\\x1f\\x7f]|Assertion|Segmentation|libbpf: ' '$WORK/run.err' '$WORK/run.out'"
}
# expect_with NAME CODE REGEX COMMAND…: the same for a command that runs ebb somehow.
expect_with() {
	local real=$EBB
	EBB=/usr/bin/env
	expect "$1" "$2" "$3" "${@:4}"
	EBB=$real
}

start target "$PROGRAMS/server" --seconds 600
await target '^serving' || finish
pid=${PID[target]}

# --- what is not a process ---
sh -c : &
dead=$!
wait "$dead"
expect no-process 1 "no process $dead|$dead.*(no such|not exist)" leak "$dead" -d 1s
expect huge-pid '1|2' '99999999999999999999' leak 99999999999999999999 -d 1s
expect zero '1|2' '' leak 0 -d 1s
expect negative 2 '' leak -p -5 -d 1s
expect no-name 2 'no process.*no-such-name' leak no-such-name -d 1s
expect empty-name 2 '' leak '' -d 1s
# The first child of kthreadd: it never ends.
kthread=$(awk '/^PPid:\t2$/ { print FILENAME; exit }' /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3)
if [ -n "$kthread" ]; then
	expect kernel-thread 4 'kernel thread' leak "$kthread" -d 1s
else
	skip badinput.kernel-thread "no kernel thread is visible here"
fi
# A child that its parent never waits for.
start parent "$PROGRAMS/forks"
await parent '^ready' && ask parent zombie '^zombie' &&
	expect zombie 4 'zombie|has ended' leak "$(awk '/^zombie/ { print $2 }' "${OUT[parent]}")" -d 1s
stop parent KILL
expect_with own-pid 2 'itself|own' sh -c 'exec "$0" leak $$ -d 1s' "$EBB"
thread=$(for t in /proc/"$pid"/task/*; do echo "${t##*/}"; done | grep -vx "$pid" | head -1)
expect thread 2 "thread.*$pid" leak "$thread" -d 1s
if [ -x "$PROGRAMS/tiny32" ]; then
	start tiny "$PROGRAMS/tiny32"
	if tick 0.2; alive "${PID[tiny]}"; then
		expect 32-bit 4 '32-bit' leak "${PID[tiny]}" -d 1s
		stop tiny KILL
	else
		skip badinput.32-bit "this kernel runs no 32-bit programs"
	fi
else
	skip badinput.32-bit "the compiler makes no 32-bit programs"
fi

# --- names ---
for i in 1 2; do
	mkdir "$WORK/$i"
	cp "$PROGRAMS/allocs" "$WORK/$i/twins-$$"
	start "twin$i" "$WORK/$i/twins-$$"
	await "twin$i" '^ready'
done
expect several 2 "twins-$$" leak "twins-$$" -d 1s
says badinput.several.first "$WORK/run.err" "\\b${PID[twin1]}\\b"
says badinput.several.second "$WORK/run.err" "\\b${PID[twin2]}\\b"
stop twin1 TERM
stop twin2 TERM

# --- command lines ---
expect no-target 2 'PID' leak
expect two-groups 2 'one of them' leak --unit a --cgroup /b
expect group-and-pid 2 'PID' leak "$pid" --unit a
expect no-such-second 1 'no process' leak "$pid" -p 4194000 -d 1s
expect two-for-ports 2 '' ports "$pid" "$pid"
expect unknown-option 2 'frobnicate' leak "$pid" --frobnicate
expect prefix 2 'dur' leak "$pid" --dur 1s
expect no-argument 2 '(-d|duration)' leak "$pid" -d
expect bad-duration 2 'soon' leak "$pid" -d soon
expect negative-duration 2 '' leak "$pid" -d -5s
expect bad-format 2 'pdf.*|table' leak "$pid" -f pdf
expect bad-value 2 'held' leak "$pid" --value peak
expect bad-size 2 'lots' leak "$pid" --max-memory lots
expect tiny-memory 2 'max-memory' leak "$pid" --max-memory 1
expect bad-overhead 2 'overhead' leak "$pid" --max-overhead much
expect bad-top 2 'top' leak "$pid" --top many
expect unknown-command 2 'lea\b' lea "$pid"
expect unknown-command-prefix 2 '' le "$pid"
expect escape-argument 2 '' leak $'\e[31mred\n' -d 1s
expect escape-option 2 '' leak "$pid" $'--\e[31mred'
expect_with bad-way 2 'EBB_ATTACH' env EBB_ATTACH=magic "$EBB" leak "$pid" -d 1s
ebb_run run
check badinput.bare "nothing said" test -s "$WORK/run.out" -o -s "$WORK/run.err"

# --- privileges ---
# A copy that another user can reach.
mkdir "$WORK/bin"
cp "$EBB" "$WORK/bin/ebb"
chmod 755 "$WORK/bin" "$WORK/bin/ebb"
if command -v setpriv >/dev/null; then
	expect_with nobody 4 'CAP_[A-Z_]+' setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
		"$WORK/bin/ebb" leak "$pid" -d 1s
	says badinput.nobody.help "$WORK/run.err" "sudo .*ebb leak .*$pid|as root"
	# One missing at a time, of what a process of root could have.
	for cap in bpf perfmon sys_ptrace; do
		drop="-$cap"
		[ "$cap" = sys_ptrace ] || drop="-$cap,-sys_admin"
		expect_with "without-$cap" 4 "CAP_${cap^^}" setpriv --bounding-set="$drop" --inh-caps=-all \
			"$WORK/bin/ebb" leak "$pid" -d 1s
	done
	# Somebody's own process: to see it is no question, to load programs is.
	start own setpriv --reuid=65534 --regid=65534 --clear-groups "$PROGRAMS/allocs"
	if await own '^ready' 5; then
		expect_with nobody-own 4 'CAP_BPF|CAP_PERFMON|CAP_SYS_ADMIN' setpriv --reuid=65534 --regid=65534 --clear-groups \
			--inh-caps=-all --bounding-set=-all "$WORK/bin/ebb" leak "${PID[own]}" -d 1s
		# Another user's process, for root.
		expect other-user 0 '^attached' leak "${PID[own]}" -d 1s
	else
		skip badinput.nobody-own "another user cannot reach $PROGRAMS"
		note "the folder of the test programs is not readable for others"
	fi
	[ -z "${PID[own]:-}" ] || stop own TERM
else
	skip badinput.privileges "setpriv (util-linux) is not installed"
fi

# --- where the result goes ---
expect output-no-folder 1 "$WORK/none/file.*no such" leak "$pid" -d 1s -f folded -o "$WORK/none/file"
says_not badinput.output-no-folder.early "$WORK/run.err" '^attached'
mkdir "$WORK/folder"
expect output-folder 1 "$WORK/folder" leak "$pid" -d 1s -f folded -o "$WORK/folder"
expect output-escape 1 '' leak "$pid" -d 1s -f folded -o "$WORK/"$'no\e[31m/red'
expect output-full 1 'no space' leak "$pid" -d 1s -f folded -o /dev/full
OUTFILE=/dev/full expect stdout-full 1 'no space' leak "$pid" -d 1s -f folded
OUTFILE=/dev/full expect stdout-full-table 1 'no space' leak "$pid" -d 2s -i 500ms
OUTFILE=/dev/full expect stdout-full-dry-run 1 'no space' leak "$pid" --dry-run
OUTFILE=/dev/full expect stdout-full-help 1 'no space' leak --help
expect_with stdout-closed 1 'stdout|standard output' sh -c 'exec "$0" "$@" >&-' "$EBB" leak "$pid" -d 1s -f folded
# stderr closed: nothing can be said, and no file may get what was meant for it.
expect_with stderr-closed 0 '' sh -c 'exec "$0" "$@" 2>&-' "$EBB" leak "$pid" -d 1s -f folded -o "$WORK/closed"
check badinput.stderr-closed.file "something else in the file" folded_valid "$WORK/closed"
# A reader that goes away: ebb ends soon and without a word about an internal error.
expect_with reader-gone '0|1|141' '' bash -c '"$0" "$@" -i 200ms -d 30s | head -n 1; exit ${PIPESTATUS[0]}' "$EBB" leak "$pid" \
	--max-overhead none
check badinput.reader-gone.line "head saw nothing" test -s "$WORK/run.out"
mkfifo "$WORK/pipe"
expect_with fifo 0 '' bash -c 'cat "$0" & "$@"; code=$?; wait; exit $code' "$WORK/pipe" "$EBB" leak "$pid" -d 1s -f folded -o "$WORK/pipe"
check badinput.fifo.valid "what went through the pipe is not folded stacks" folded_valid "$WORK/run.out"

# --- a poor environment ---
expect_with memlock 0 '' bash -c 'ulimit -l 0 && exec "$0" "$@"' "$EBB" leak "$pid" -d 1s -f folded
check badinput.memlock.valid "no folded stacks" folded_valid "$WORK/run.out"
expect_with few-files '0|1' '' bash -c 'ulimit -n 64 && exec "$0" "$@"' "$EBB" leak "$pid" -d 1s -f folded
if unshare -m true 2>/dev/null; then
	for way in session multi perf; do
		expect_with "no-mounts-$way" 0 '' env EBB_ATTACH=$way unshare -m sh -c '
			for fs in $(awk "\$3 == \"tracefs\" || \$3 == \"debugfs\" || \$3 == \"bpf\" { print \$2 }" /proc/self/mounts | tac); do
				umount -l "$fs" 2>/dev/null
			done
			exec "$0" "$@"' "$EBB" leak "$pid" -d 1s -f folded
		check "badinput.no-mounts-$way.valid" "no folded stacks" folded_valid "$WORK/run.out"
	done
	if [ -d /sys/kernel/btf ]; then
		expect_with no-btf '0|4' '' unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"' "$EBB" leak "$pid" -d 1s -f folded
		[ "$STATUS" = 0 ] || says badinput.no-btf.says "$WORK/run.err" 'BTF'
	fi
	expect_with no-proc '1|4' '' unshare -m sh -c 'mount -t tmpfs none /proc && exec "$0" "$@"' "$EBB" leak "$pid" -d 1s -f folded
else
	skip badinput.no-mounts "no mount namespace can be made here"
fi
expect_with no-environment 0 '' env -i "$EBB" leak "$pid" -d 1s -f folded
expect_with no-stdin 0 '' sh -c 'exec "$0" "$@" <&-' "$EBB" leak "$pid" -d 1s -f folded

# --- names with spaces, newlines, semicolons, escapes ---
evil=$'e v\ni;l\e[31m'
mkdir "$WORK/$evil"
cp "$PROGRAMS/allocs" "$WORK/$evil/$evil"
start evil "$WORK/$evil/$evil"
await evil '^ready' || finish
if attached_or_fail badinput.evil.attach run leak "${PID[evil]}" -f folded --max-overhead none && ask evil go '^done'; then
	stop run
	is badinput.evil.status "$STATUS" 0
	clean badinput.evil
	check badinput.evil.valid "no folded stacks" folded_valid "$WORK/run.out"
	check badinput.evil.sums "not the program's own numbers" sites_equal "$WORK/run.out" "${OUT[evil]}" 2 '^keep_'
fi
expect evil-dry-run 0 '' leak "${PID[evil]}" --dry-run
expect evil-table 0 '' leak "${PID[evil]}" -d 2s -i 500ms --max-overhead none
expect evil-name 0 '' leak "$evil" -d 1s --max-overhead none
expect evil-output 0 '' leak "${PID[evil]}" -d 1s -f folded -o "$WORK/$evil/out $evil"
check badinput.evil-output.file "the file is not there" test -e "$WORK/$evil/out $evil"
strip -o "$WORK/$evil/$evil stripped" "$WORK/$evil/$evil"
start evils "$WORK/$evil/$evil stripped"
await evils '^ready' || finish
if attached_or_fail badinput.evil-module.attach run leak "${PID[evils]}" -f folded --max-overhead none && ask evils go '^done'; then
	stop run
	clean badinput.evil-module
	check badinput.evil-module.valid "no folded stacks" folded_valid "$WORK/run.out"
	is badinput.evil-module.total "$(folded_total "$WORK/run.out")" 1162960
fi
stop evil TERM
stop evils TERM

# --- files that are no longer what is mapped ---
mkdir "$WORK/replaced"
cp "$PROGRAMS"/{server,libcache.so,libsession.so} "$WORK/replaced/"
start replaced "$WORK/replaced/server" --seconds 600
await replaced '^serving' || finish
cp "$PROGRAMS/libcache.so" "$WORK/replaced/new"
mv "$WORK/replaced/new" "$WORK/replaced/libsession.so"	# another library under its name
rm "$WORK/replaced/server" "$WORK/replaced/libcache.so"
expect replaced 0 '' leak "${PID[replaced]}" -d 3s -f folded --max-overhead none
check badinput.replaced.names "names of the old files are missing" \
	grep -q 'worker_main;serve_requests;handle_upload;session_open;session_new ' "$WORK/run.out"
stop replaced TERM
# The allocator itself.
lib=$(for f in /usr/lib/*/libjemalloc.so.2 /usr/lib64/libjemalloc.so.2; do [ -e "$f" ] && echo "$f"; done | head -1)
if [ -n "$lib" ]; then
	cp "$lib" "$WORK/replaced/lib.so"
	start moved env LD_PRELOAD="$WORK/replaced/lib.so" "$PROGRAMS/allocs"
	await moved '^ready' || finish
	cp "$PROGRAMS/libcache.so" "$WORK/replaced/new"
	mv "$WORK/replaced/new" "$WORK/replaced/lib.so"
	if attached_or_fail badinput.moved.attach run leak "${PID[moved]}" -f folded --max-overhead none && ask moved go '^done'; then
		stop run
		is badinput.moved.status "$STATUS" 0 || show "$WORK/run.err"
		check badinput.moved.sums "not the program's own numbers" sites_equal "$WORK/run.out" "${OUT[moved]}" 2 '^keep_'
	fi
	stop moved TERM
else
	skip badinput.moved "libjemalloc.so.2 is not installed"
fi

# --- what must not be touched ---
printf 'int main(void) { for (;;) __builtin_ia32_pause(); }\n' >"$WORK/asan.c"
if ${CC:-cc} -fsanitize=address "$WORK/asan.c" -o "$WORK/asan" 2>/dev/null; then
	start asan "$WORK/asan"
	mapped() { grep -q 'libasan' "/proc/${PID[asan]}/maps" 2>/dev/null; }
	until_true 10 mapped
	expect sanitizer 4 'sanitizer' leak "${PID[asan]}" -d 1s
	stop asan KILL
else
	skip badinput.sanitizer "the compiler has no address sanitizer"
fi
# A stopped process can be watched; nothing happens in it.
start stopped "$PROGRAMS/server" --seconds 600
await stopped '^serving' || finish
kill -STOP "${PID[stopped]}"
expect stopped 0 '' leak "${PID[stopped]}" -d 1s -f folded
kill -CONT "${PID[stopped]}"
check badinput.stopped.alive "it died" alive "${PID[stopped]}"
stop stopped TERM

check badinput.alive "the target died" alive "$pid"
finish
