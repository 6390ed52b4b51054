#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beside: waiting
# Processes by cgroup, systemd unit and container, as /proc/PID/cgroup tells them: who is there, who comes, who is not meant.
. "$(dirname "$0")/lib.sh"
need_ebb

# A hierarchy in which a cgroup can be made: version 2's, else any of version 1.
group= mount=
while read -r _ point type options _; do
	case $type in cgroup2|cgroup) ;; *) continue ;; esac
	controller=$(sed 's/^[^:]*,\(name=[^,]*\)$/\1/; s/.*,//' <<<"$options")
	own=$(awk -F: -v c="$controller" -v v2="$([ "$type" = cgroup2 ] && echo y)" '(v2 && $1 == "0") || (!v2 && index("," $2 ",", "," c ",")) {
		sub(/^[^:]*:[^:]*:/, ""); print; exit }' /proc/self/cgroup)
	mkdir "$point${own%/}/ebb-groups-$$" 2>/dev/null || continue
	group=$point${own%/}/ebb-groups-$$ mount=$point
	sh -c 'echo $$ >"$0/cgroup.procs"' "$group" 2>/dev/null && break
	rmdir "$group"
	group=
done < <(awk '$3 == "cgroup2"' /proc/mounts; awk '$3 == "cgroup" && !/cpuset/' /proc/mounts)
[ -n "$group" ] || { skip groups "no cgroup can be made here"; finish; }
id1=$(printf '%08x%056d' $((0xeb000000 + $$)) 1)
id2=$(printf '%08x%056d' $((0xeb000000 + $$)) 2)
folders=("$group" "$group/ebb$$.service" "$group/docker-$id1.scope" "$group/$id2" "$group/$id2/init" "$group/crio-conmon-$id1.scope")
remove_folders() {
	local i
	for ((i = ${#folders[@]} - 1; i >= 0; i--)); do
		[ ! -d "${folders[i]}" ] || until_true 3 rmdir "${folders[i]}" 2>/dev/null
	done
}
HOOKS+=(remove_folders)
mkdir "${folders[@]:1}" || finish
inside() { local dir=$1; shift; start "$1" sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$dir" "${@:2}"; }
watched() { sed -n 's/^attached to .* process \([0-9]*\) by.*/\1/p' "$1" | sort -n | tr '\n' ' '; }
of_pids() { printf '%s\n' "$@" | sort -n | tr '\n' ' '; }

# An empty one, and one that is not there.
ebb_run empty leak --cgroup "$group" -d 1s
is groups.empty.status "$STATUS" 1
says groups.empty.why "$WORK/empty.err" 'no process in cgroup /.*ebb-groups'
ebb_run missing leak --cgroup "$group/nothing" -d 1s
is groups.missing.status "$STATUS" 1
says groups.missing.why "$WORK/missing.err" "there is no cgroup '.*/nothing'"
ebb_run unit leak --unit "ebb-nothing-$$" -d 1s
is groups.nounit.status "$STATUS" 1
says groups.nounit.why "$WORK/unit.err" "no process in unit ebb-nothing-$$.service"
ebb_run container leak --container "ebb-nothing-$$" -d 1s
is groups.nocontainer.status "$STATUS" 1
says groups.nocontainer.why "$WORK/container.err" "no process is in a container"

inside "${folders[1]}" service "$PROGRAMS/family" 1
inside "${folders[2]}" box1 "$PROGRAMS/family"
inside "${folders[4]}" box2 "$PROGRAMS/family"
inside "${folders[5]}" monitor "$PROGRAMS/family"
for h in service box1 box2 monitor; do await "$h" '^ready' || finish; done
child=$(awk '$1 == "born" { print $2 }' "${OUT[service]}")
path=${group#"$mount"}

# By the folder, and by what /proc says; all that is below it.
all=$(of_pids "${PID[service]}" "$child" "${PID[box1]}" "${PID[box2]}" "${PID[monitor]}")
ebb_run folder leak --cgroup "$group/" -d 500ms -f folded --max-overhead none
is groups.folder.status "$STATUS" 0 || show "$WORK/folder.err"
is groups.folder.pids "$(watched "$WORK/folder.err")" "$all"
ebb_run path leak --cgroup "$path/ebb$$.service" -d 500ms -f folded --max-overhead none
is groups.path.status "$STATUS" 0 || show "$WORK/path.err"
is groups.path.pids "$(watched "$WORK/path.err")" "$(of_pids "${PID[service]}" "$child")"

# A container by its id, and by the beginning of it; two are meant by less of it. Its monitor is not in it.
ebb_run id leak --container "$id1" -d 500ms -f folded --max-overhead none
is groups.id.status "$STATUS" 0 || show "$WORK/id.err"
is groups.id.pids "$(watched "$WORK/id.err")" "$(of_pids "${PID[box1]}")"
ebb_run id2 leak --container "$id2" -d 500ms -f folded --max-overhead none
is groups.below.pids "$(watched "$WORK/id2.err")" "$(of_pids "${PID[box2]}")"
ebb_run short leak --container "${id1:0:12}" -d 500ms
is groups.short.status "$STATUS" 2
says groups.short.first "$WORK/short.err" "$id1"
says groups.short.second "$WORK/short.err" "$id2"

# A unit: who is born later is in it; one that is started again is, too; ebb ends when the cgroup of a --cgroup is gone.
if attached_or_fail groups.unit.attach leak leak --unit "ebb$$" -f folded --max-overhead none; then
	ask service born '^ok born'
	later=$(awk '$1 == "born" { pid = $2 } END { print pid }' "${OUT[service]}")
	check groups.unit.born "who was born later is not watched" until_true 30 grep -q "^attached to .* process $later by" "$WORK/leak.err"
	ask service 'keep 3' '^ok keep'
	ended=${PID[service]}
	stop service TERM
	check groups.unit.ended "the end is not seen" until_true 10 grep -q "^process ${ended} was killed by signal 15" "$WORK/leak.err"
	inside "${folders[1]}" service "$PROGRAMS/family"
	await service '^ready'
	check groups.unit.again "the new process is not watched" \
		until_true 30 grep -q "^attached to .* process ${PID[service]} by" "$WORK/leak.err"
	ask service 'keep 5' '^ok keep'
	stop leak
	is groups.unit.status "$STATUS" 0 || show "$WORK/leak.err"
	is groups.unit.kept "$(folded_match "$WORK/leak.out" "^family\\[${PID[service]}\\];.*root_keep")" 500
fi
stop box1 TERM
inside "${folders[2]}" box1 "$PROGRAMS/family"
await box1 '^ready'
if attached_or_fail groups.gone.attach gone leak --cgroup "${folders[2]}" -f folded --max-overhead none; then
	ask box1 'keep 4' '^ok keep'
	stop box1 TERM
	until_true 5 rmdir "${folders[2]}"
	wait_end gone 20
	is groups.gone.status "$STATUS" 0 || show "$WORK/gone.err"
	says groups.gone.why "$WORK/gone.err" 'cgroup .*docker-.* is gone'
	is groups.gone.kept "$(folded_match "$WORK/gone.out" 'root_keep')" 400
fi
for h in service box2 monitor; do stop "$h" TERM; done
finish
