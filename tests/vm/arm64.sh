# SPDX-License-Identifier: GPL-2.0-only
# One arm64 kernel: every BPF object loads there, and the walker finds a known stack by frame pointers. Sourced by
# tests/vm/long/arm64_*.sh, which say what it is and what it cannot do:
#
#	SERIES	of the kernel
#	SUITES	where Debian has it, and the libraries that the guest's programs are linked with
#	CPU	of the emulated machine
#	REFUSES	programs that it must refuse

. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BUILD=$ROOT/${O:-build}/arm64
CROSS=aarch64-linux-gnu-gcc
case $(uname -m) in aarch64) BUILD=$ROOT/${O:-build} CROSS=gcc ;; esac

need_vm qemu-system-aarch64 "$CROSS"
kernel_fetch "$SERIES" arm64 $SUITES || { skip "vm.$E2E" "cannot fetch a kernel: $WHY"; finish; }
packages_fetch arm64 $SUITES -- busybox-static libbpf-dev libelf-dev zlib1g-dev ||
	{ skip "vm.$E2E" "cannot fetch libraries for arm64: $WHY"; finish; }
note "kernel $KERNEL"

# Static: the guest has no libraries. With frame pointers, and return addresses signed where the CPU can.
for program in load frames; do
	"$CROSS" -O2 -g -std=gnu11 -Wall -Wextra -D_GNU_SOURCE -fno-omit-frame-pointer -fno-optimize-sibling-calls \
		-mbranch-protection=standard -static -iquote "$ROOT/bpf" -I "$TREE/usr/include" \
		"$ROOT/tests/vm/$program.c" -L "$TREE/usr/lib/aarch64-linux-gnu" -lbpf -lelf -lz -o "$WORK/$program" ||
		{ not_ok "vm.$E2E.build" "$program.c does not build for arm64"; finish; }
done
for object in bpf/leak bpf/leak_session bpf/leak_pairs bpf/ports bpf/faults tests/unwind/walk; do
	cp "$BUILD/$object.linked.o" "$WORK/${object##*/}.bpf" || { not_ok "vm.$E2E.build" "no object $object"; finish; }
done
initrd_make "$WORK/initrd.cpio" "$TREE/bin/busybox" "$GUEST/run_arm64" "$WORK"/{load,frames} "$WORK"/*.bpf
machine_arm64 "$CPU"
guest_boot "$WORK/initrd.cpio" 300
is "vm.$E2E.boot" "$STATUS" 0 || { show "$CONSOLE"; finish; }
check "vm.$E2E.kernel" "another kernel than $KERNEL booted" grep -qx "vm: kernel $KERNEL" "$CONSOLE"
check "vm.$E2E.complaints" "$(kernel_complaints "$CONSOLE" | head -n 2)" test -z "$(kernel_complaints "$CONSOLE")"
programs_loaded "vm.$E2E" "$REFUSES faults_user" 25
stacks_known "vm.$E2E"
finish
