# SPDX-License-Identifier: GPL-2.0-only
# leak.redis, for tests/bench/run: SET/s of a redis of our own, bare and with each tracer on it, in turns.

REDIS_SETS=40000	# a second or so where nothing traces
REDIS_SETS_SLOW=4000	# for tracers that take it to a tenth

redis_start()
{
	local try

	for try in 1 2 3 4 5; do
		port=$((20000 + RANDOM % 12000))
		begin "$work/redis" redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$work"
		redis=$pid
		await "$redis" "$work/redis" 'Ready to accept connections' 10 && return 0
		end "$redis"
	done
	say "leak.redis: redis-server does not start: $(tail -n 1 "$work/redis")"
	return 1
}

# SET/s of N requests in $rate; 0 when redis-benchmark failed.
redis_rate()
{
	begin "$work/load" timeout -k 5 90 redis-benchmark -h 127.0.0.1 -p "$port" -t set -n "$1" -c 20 -r 100000 -d 64 --csv
	wait "$pid"
	unset "started[$pid]"
	rate=$(sed -n 's/^"SET","\([0-9.]*\)".*/\1/p' "$work/load")
	rate=${rate:-0}
}

# The allocator functions that ebb probes in this redis, as uprobes of bpftrace: LIBRARY:FUNCTION at symbol+0.
redis_functions()
{
	local library function path

	"$EBB" leak "$redis" --dry-run 2> /dev/null | awk '$3 ~ /^\+[0-9]+$/ { print $1, $2 }' | while read -r library function; do
		path=$(awk -v lib="/$library" 'substr($6, length($6) - length(lib) + 1) == lib { print $6; exit }' "/proc/$redis/maps")
		[ -z "$path" ] || echo "$path ${function%%=*}"
	done
}

# Each starts a tracer on $redis: its pid in $tracer, or a reason in $why and false.
trace_bare() { tracer=; }

trace_ebb()
{
	begin "$work/tracer" "$EBB" leak "$redis" --max-overhead none -f folded -o "$work/folded"
	tracer=$pid
	await "$tracer" "$work/tracer" '^attached to' && return 0
	why=$(tail -n 1 "$work/tracer")
	return 1
}

trace_bpftrace()
{
	local probes

	probes=$(redis_functions | awk '{ printf "%suprobe:%s:%s", (NR > 1 ? "," : ""), $1, $2 }')
	begin "$work/tracer" bpftrace -B line -p "$redis" -e "$probes { @[func] = count(); }"
	tracer=$pid
	# it says so before it attaches
	await "$tracer" "$work/tracer" '^Attaching' 20 && pause 2 && alive "$tracer" && return 0
	why=$(tail -n 1 "$work/tracer")
	return 1
}

trace_memleak()
{
	local object=$1

	begin "$work/tracer" "$memleak" -p "$redis" ${object:+-O "$object"} 1
	tracer=$pid
	await "$tracer" "$work/tracer" 'Top [0-9]+ stacks' 30 && return 0
	why=$(grep -Ei 'unable|denied|not found|error' "$work/tracer" | grep -v modprobe | head -n 1)
	return 1
}
trace_memleak_default() { trace_memleak ''; }
trace_memleak_object() { trace_memleak "$(redis_functions | awk '{ print $1; exit }')"; }

# What a tracer saw, by its last words.
saw()
{
	case $1 in
	ebb) awk '{ n++; sum += $NF } END { printf "%d paths, %.1f MiB held", n, sum / 1048576 }' "$work/folded" ;;
	bpftrace) awk '/^@\[/ { sum += $NF } END { printf "%d calls", sum }' "$work/tracer" ;;
	memleak*) awk '/Top [0-9]+ stacks/ { top = $0; sub(/.*Top/, "Top", top) } / bytes in .* allocations/ { n++ }
		END { printf "%s; %d paths in all reports", top, n }' "$work/tracer" ;;
	esac
}

# One tracer in one round: its rate in $rate.
redis_round()
{
	local sets=$REDIS_SETS_SLOW

	case $1 in bare | ebb) sets=$REDIS_SETS ;; esac
	if ! "trace_$1"; then
		[ -z "$tracer" ] || end "$tracer"
		return 1
	fi
	redis_rate "$sets"
	[ -n "$tracer" ] || return 0
	end "$tracer" INT 20
	saw["$1"]="$(saw "$1"), exit code $status"
}

bench_redis()
{
	local rounds round variant variants=(bare ebb) memleak tracer why words i
	local -A rates=() ratios=() saw=() dropped=() last=()

	command -v redis-server > /dev/null && command -v redis-benchmark > /dev/null ||
		{ say "leak.redis: redis-server or redis-benchmark is not installed (tools/deps.sh)"; return 1; }
	redis_start || return 1
	command -v bpftrace > /dev/null && variants+=(bpftrace) || say "leak.redis: bpftrace is not installed (tools/deps.sh --bench)"
	memleak=$(command -v memleak-bpfcc || command -v memleak || command -v /usr/share/bcc/tools/memleak) || memleak=
	[ -n "$memleak" ] && variants+=(memleak_default memleak_object) ||
		say "leak.redis: memleak is not installed (package bpfcc-tools)"
	rounds=$(rounds_wanted 5)
	for ((round = 0; round < rounds; round++)); do
		for variant in $(printf '%s\n' "${variants[@]}" | shuf); do
			[ -z "${dropped[$variant]:-}" ] || continue
			alive "$redis" || { say "leak.redis: redis died under $variant"; return 1; }
			if redis_round "$variant"; then
				rates[$variant]+=" $rate"
				last[$variant]=$rate
			else
				say "leak.redis: $variant does not run here: $why"
				dropped[$variant]=1
				[ "$variant" != ebb ] || { end "$redis"; return 1; }
			fi
		done
		for variant in "${variants[@]}"; do
			[ -n "${dropped[$variant]:-}" ] || ratios[$variant]+=" $(ratio "${last[$variant]}" "${last[bare]}")"
		done
	done
	end "$redis"
	for variant in "${variants[@]}"; do
		[ -z "${dropped[$variant]:-}" ] || continue
		# shellcheck disable=SC2086
		say "leak.redis: $variant $(printf %.0f "$(median ${rates[$variant]})") SET/s, $rounds rounds${saw[$variant]:+; it saw: ${saw[$variant]}}"
	done
	for variant in "${variants[@]}"; do
		[ "$variant" != bare ] && [ -z "${dropped[$variant]:-}" ] || continue
		case $variant in ebb) words=leak.redis ;; *) words=leak.redis.${variant//_/.} ;; esac
		# shellcheck disable=SC2086
		result "$words" "$(median ${ratios[$variant]})" 3
	done
}
