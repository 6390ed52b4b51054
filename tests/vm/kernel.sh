# SPDX-License-Identifier: GPL-2.0-only
# One kernel: boots it, loads every BPF program there, and lets ebb account for a ledger. Sourced by tests/vm/debian_*.sh, which
# say what it is and what it cannot do:
#
#	META	metapackage of the kernel
#	REFUSES	programs that it must refuse: one that loads all the same is a failure too
#	WAYS	ways of attaching that it has, the best first

NAME=${E2E#debian_}
need_vm
kernel_fetch "$META" || { skip "vm.$NAME" "no kernel of $META can be fetched here"; finish; }
note "kernel $KERNEL"

PARTS=$ROOT/${O:-build}/tests/vm
for object in leak leak_session ports; do cp "$ROOT/${O:-build}/bpf/$object.linked.o" "$WORK/$object.bpf"; done
initrd_make "$WORK/initrd.cpio" "$EBB" "$PROGRAMS/ledger" "$PARTS/load" "$PARTS/leave" "$WORK"/*.bpf
guest_boot "$WORK/initrd.cpio" 240
is "vm.$NAME.boot" "$STATUS" 0 || { show "$CONSOLE"; finish; }
check "vm.$NAME.kernel" "another kernel than $KERNEL booted" grep -qx "vm: kernel $KERNEL" "$CONSOLE"
check "vm.$NAME.complaints" "$(kernel_complaints "$CONSOLE" | head -n 2)" test -z "$(kernel_complaints "$CONSOLE")"

loaded=0
while read -r _ _ object program verdict what; do
	loaded=$((loaded + 1))
	case " $REFUSES " in
	*" $program "*) is "vm.$NAME.load.$program" "$verdict" refused ;;
	*) is "vm.$NAME.load.$program" "$verdict" ok || grep -A 12 "^vm: load $object $program " "$CONSOLE" >&2 ;;
	esac
	[ "$verdict" != ok ] || note "$program: $what instructions"
done < <(grep '^vm: load ' "$CONSOLE")
check "vm.$NAME.load" "only $loaded programs were tried" test "$loaded" -ge 15

for way in session multi perf; do
	lines() { sed -n "s/^vm: $way $1 //p" "$CONSOLE"; }
	lines ledger >"$WORK/ledger" && lines folded >"$WORK/folded"
	case " $WAYS " in
	*" $way "*)
		is "vm.$NAME.$way.status" "$(lines status)" 0 || lines ebb >&2
		check "vm.$NAME.$way.ledger" "held bytes by site differ from the ledger" \
			sites_equal "$WORK/folded" "$WORK/ledger" 2 '^site_'
		check "vm.$NAME.$way.complete" "stacks that do not begin at the thread's first function" \
			eval "! grep -Evq '^ledger;(clone3?|__clone3?|_start|libc.so.6\\+0x[0-9a-f]+);' '$WORK/folded'" ;;
	*) is "vm.$NAME.$way.refused" "$(lines refused)" 4 1 ;;
	esac
done
says "vm.$NAME.fallback" "$CONSOLE" "^vm: fallback ebb attached to .* by ${WAYS%% *};"
is "vm.$NAME.ports" "$(sed -n 's/^vm: ports status //p' "$CONSOLE")" 0 || grep '^vm: ports' "$CONSOLE" >&2
finish
