# SPDX-License-Identifier: GPL-2.0-only
# faults.storm and faults.bystander, for tests/bench/run: CPU time of a first touch, watched or beside one that is watched.

STORMS=25
STORM_PAGES=4096

storm_start()
{
	[ -p "$work/$1.in" ] || mkfifo "$work/$1.in"
	STDIN=$work/$1.in
	exec {storm_in}<> "$STDIN"
	rm -f "$work/$1"
	begin "$work/$1" "$O/tests/bench/storm"
	unset STDIN
	storm=$pid
	await "$storm" "$work/$1" '^ready' || { say "faults: no load: $(tail -n 1 "$work/$1")"; return 1; }
}

# storm_run NAME FD: ns a fault in $ns.
answers() { [ "$(wc -l < "$1")" -gt "$2" ]; }
storm_run()
{
	local before

	before=$(wc -l < "$work/$1")
	echo "$STORMS $STORM_PAGES" >&"$2"
	until_true 60 answers "$work/$1" "$before"
	ns=$(tail -n 1 "$work/$1")
}

# Each starts a tracer: on the storm, or for a bystander on another process; its pid in $tracer.
storm_trace()
{
	local watched=$storm

	rm -f "$work/tracer"	# what the last one said
	case $1 in
	bare) tracer=; return 0 ;;
	bpftrace)
		begin "$work/tracer" bpftrace -B line -e 'tracepoint:exceptions:page_fault_user { @[ustack] = count(); }'
		tracer=$pid
		await "$tracer" "$work/tracer" '^Attaching' 20 && pause 2 && alive "$tracer"
		return ;;
	bystander_*) watched=$idle ;;
	esac
	set -- "${1#bystander_}"
	case $1 in
	machine) begin "$work/tracer" "$EBB" faults -f folded -o "$work/folded" ;;
	*) begin "$work/tracer" "$EBB" faults "$watched" --sensor "$1" -f folded -o "$work/folded" ;;
	esac
	tracer=$pid
	await "$tracer" "$work/tracer" '^attached to'
}

bench_faults()
{
	local rounds round variant variants=(bare "$@") storm_in storm idle storm_fd idle_fd tracer ns name
	local -A all=() ratios=() last=() dropped=()

	storm_start idle || return 1
	idle=$storm idle_fd=$storm_in
	storm_start storm || return 1
	storm_fd=$storm_in
	rounds=$(rounds_wanted 9)
	for ((round = 0; round < rounds; round++)); do
		for variant in $(printf '%s\n' "${variants[@]}" | shuf); do
			[ -z "${dropped[$variant]:-}" ] || continue
			tracer=
			if storm_trace "$variant"; then
				storm_run storm "$storm_fd"
				all[$variant]+=" $ns"
				last[$variant]=$ns
			else
				say "faults: $variant does not run here: $(tail -n 1 "$work/tracer")"
				dropped[$variant]=1
			fi
			[ -z "$tracer" ] || end "$tracer" INT 20
		done
		for variant in "${variants[@]}"; do
			[ -n "${dropped[$variant]:-}" ] || ratios[$variant]+=" $(ratio "${last[$variant]}" "${last[bare]}")"
		done
	done
	end "$storm"
	end "$idle"
	exec {storm_fd}>&- {idle_fd}>&-
	for variant in "${variants[@]}"; do
		[ -z "${dropped[$variant]:-}" ] || continue
		# shellcheck disable=SC2086
		say "faults: $variant $(printf %.0f "$(median ${all[$variant]})") ns a fault, $rounds rounds"
	done
	for variant in "${variants[@]}"; do
		[ "$variant" != bare ] && [ -z "${dropped[$variant]:-}" ] || continue
		case $variant in
		tracepoint) name='faults.storm max 1.2' ;;
		bystander_tracepoint) name='faults.bystander max 1.03' ;;
		bystander_*) name="faults.bystander.${variant#bystander_}" ;;
		*) name="faults.storm.$variant" ;;
		esac
		set -- $name
		# shellcheck disable=SC2086
		result "$1" "$(median ${ratios[$variant]})" 3 ${2:-} ${3:-}
	done
}

bench_storm()
{
	local variants=(tracepoint events machine)

	command -v bpftrace > /dev/null && variants+=(bpftrace) || say "faults.storm: bpftrace is not installed (tools/deps.sh --bench)"
	bench_faults "${variants[@]}"
}

bench_bystander() { bench_faults bystander_tracepoint bystander_events; }
