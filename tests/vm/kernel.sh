# SPDX-License-Identifier: GPL-2.0-only
# One kernel: boots it, loads every BPF program there, and lets ebb account for a ledger. Sourced by tests/vm/debian_*.sh and
# tests/vm/long/debian_*.sh, which say what it is and what it cannot do:
#
#	SERIES	of the kernel, and
#	SUITES	where Debian has it
#	REFUSES	programs that it must refuse: one that loads all the same is a failure too
#	WAYS	ways of attaching that it has, the best first

. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${E2E#debian_}
[ "$(uname -m)" = x86_64 ] || { skip "vm.$NAME" "boots x86-64 kernels, with the programs of this machine"; finish; }
need_vm qemu-system-x86_64 busybox
kernel_fetch "$SERIES" amd64 $SUITES || { skip "vm.$NAME" "cannot fetch a kernel: $WHY"; finish; }
note "kernel $KERNEL"

BUILD=$ROOT/${O:-build}
for object in leak leak_session leak_pairs ports faults; do cp "$BUILD/bpf/$object.linked.o" "$WORK/$object.bpf"; done
cp "$BUILD/tests/unwind/walk.linked.o" "$WORK/walk.bpf"
initrd_make "$WORK/initrd.cpio" "$(command -v busybox)" "$GUEST/run" "$EBB" "$PROGRAMS"/{ledger,mappings,toucher} \
	"$BUILD"/tests/vm/{load,frames,leave} "$WORK"/*.bpf
machine_x86
guest_boot "$WORK/initrd.cpio" 240
is "vm.$NAME.boot" "$STATUS" 0 || { show "$CONSOLE"; finish; }
check "vm.$NAME.kernel" "another kernel than $KERNEL booted" grep -qx "vm: kernel $KERNEL" "$CONSOLE"
check "vm.$NAME.complaints" "$(kernel_complaints "$CONSOLE" | head -n 2)" test -z "$(kernel_complaints "$CONSOLE")"

programs_loaded "vm.$NAME" "$REFUSES" 25
stacks_known "vm.$NAME"

for way in session multi perf; do
	lines() { sed -n "s/^vm: $way $1 //p" "$CONSOLE"; }
	lines ledger >"$WORK/ledger" && lines folded >"$WORK/folded"
	case " $WAYS " in
	*" $way "*)
		is "vm.$NAME.$way.status" "$(lines status)" 0 || lines ebb >&2
		check "vm.$NAME.$way.ledger" "held bytes by site differ from the ledger" \
			sites_equal "$WORK/folded" "$WORK/ledger" 2 '^site_'
		check "vm.$NAME.$way.complete" "stacks that do not begin at the thread's first function" \
			eval "[ -s '$WORK/folded' ] && ! grep -Evq '^ledger;(clone3?|__clone3?|_start|libc.so.6\\+0x[0-9a-f]+);' '$WORK/folded'" ;;
	*) is "vm.$NAME.$way.refused" "$(lines refused)" 4 1 ;;
	esac
done
sed -n 's/^vm: mappings said //p' "$CONSOLE" | awk '$1 ~ /^(map|grow|alloc)_/ && NF == 3' >"$WORK/wants"
sed -n 's/^vm: mappings folded //p' "$CONSOLE" >"$WORK/mapped"
is "vm.$NAME.mappings.status" "$(sed -n 's/^vm: mappings status //p' "$CONSOLE")" 0 || grep '^vm: mappings ebb' "$CONSOLE" >&2
check "vm.$NAME.mappings" "not the program's own numbers" \
	eval '[ "$(wc -l <"$WORK/wants")" -ge 15 ] && frames_equal "$WORK/mapped" "$WORK/wants" 2 .'
says "vm.$NAME.fallback" "$CONSOLE" "^vm: fallback ebb attached to .* by ${WAYS%% *};"
says "vm.$NAME.doctor.attaching" "$CONSOLE" "^vm: doctor attaching +ok +by ${WAYS%% *}:"
for check in 'ring buffer' tracepoints; do says "vm.$NAME.doctor.${check% *}" "$CONSOLE" "^vm: doctor $check +ok "; done
for sensor in tracepoint events; do
	is "vm.$NAME.faults.$sensor" "$(sed -n "s/^vm: faults $sensor status //p" "$CONSOLE")" 0 || grep "^vm: faults $sensor" "$CONSOLE" >&2
	faults_of() { sed -n "s/^vm: faults $sensor folded //p" "$CONSOLE" | grep -F ";$1;" | grep -F "$2" | awk '{ n += $NF } END { print n + 0 }'; }
	case $sensor in tracepoint) first=first_touch copied=copy-on-write ;; *) first=minor copied=minor ;; esac
	is "vm.$NAME.faults.$sensor.anon" "$(faults_of touch_anon "[$first:_other_anonymous")" 300
	is "vm.$NAME.faults.$sensor.heap" "$(faults_of touch_heap "[$first:_malloc_heap")" 200
	is "vm.$NAME.faults.$sensor.cow" "$(faults_of touch_cow "[$copied:_other_anonymous")" 100
	is "vm.$NAME.faults.$sensor.child" "$(faults_of touch_child "anonymous")" 150 151
done
is "vm.$NAME.ports" "$(sed -n 's/^vm: ports status //p' "$CONSOLE")" 0 || grep '^vm: ports' "$CONSOLE" >&2
finish
