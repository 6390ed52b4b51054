# SPDX-License-Identifier: GPL-2.0-only
# Debian's own kernels under software emulation, for tests/vm/*.sh. Sourced after tests/e2e/lib.sh.
#
#	need_vm PROGRAM…		the script ends with a skip where one of these is not installed
#	initrd_make FILE BUSYBOX PROGRAM…	busybox, the guest's scripts, programs with the libraries that they need
#	guest_boot INITRD SECONDS	boots $BOOT (see fetch.sh), $CONSOLE has what it printed; its exit code in $STATUS
#
# What was learned about booting: an x86 kernel's ELF file boots through PVH without unpacking anything in the guest; one CPU,
# because TCG with two panics now and then; pc, because microvm hangs; 6.1 needs tsc=reliable. isa-debug-exit gives
# (code << 1) | 1, and a panic ends qemu with 0.

GUEST=$ROOT/tests/vm/guest
. "$ROOT/tests/vm/fetch.sh"

need_vm() {
	local tool
	need_ebb
	for tool in cpio apt-get dpkg-deb "$@"; do
		command -v "$tool" >/dev/null || { skip "$E2E" "$tool is not installed"; finish; }
	done
}

initrd_make() {
	local out=$1 busybox=$2 root=$WORK/initrd file
	shift 2
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,run,etc,t}
	cp "$busybox" "$root/bin/busybox"
	cp "$GUEST/init" "$root/init"
	chmod 755 "$root/init"
	for file; do
		cp "$file" "$root/t/" || return
		# where the dynamic linker looks: the paths that it found them at here
		ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do
			mkdir -p "$root$(dirname "$lib")"
			cp -L "$lib" "$root$lib"
		done
	done
	chmod 755 "$root"/t/*
	(cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) >"$out"
	rm -rf "$root"
}

# The machine that boots $BOOT: qemu's arguments in $QEMU, the kernel's in $CMDLINE.
machine_x86() {
	QEMU=(qemu-system-x86_64 -cpu max -machine pc -device isa-debug-exit,iobase=0xf4,iosize=0x4)
	CMDLINE='console=ttyS0 tsc=reliable'
}
machine_arm64() {
	QEMU=(qemu-system-aarch64 -cpu "$1" -machine virt)
	CMDLINE='console=ttyAMA0'
}

# STATUS: the code that the guest's script ended with. Without the end mark it is a panic, or the time was up.
guest_boot() {
	CONSOLE=$WORK/console
	start guest "${QEMU[@]}" -accel tcg -smp 1 -m 1024 -no-user-config -nodefaults -display none -monitor none -no-reboot \
		-serial stdio -kernel "$BOOT" -initrd "$1" -append "$CMDLINE panic=-1 loglevel=4"
	wait_end guest "$2"
	tr -d '\r' <"$WORK/guest.out" >"$CONSOLE"
	case $STATUS in
	0) ;;				# switched off, or a panic
	hung) ;;
	*) ((STATUS & 1)) && STATUS=$((STATUS >> 1)) || STATUS=qemu:$STATUS ;;
	esac
	grep -qx "vm: done, code $STATUS" "$CONSOLE" || STATUS="no_end($STATUS)"
}

# What no kernel should say.
kernel_complaints() { grep -aE 'WARNING: CPU|BUG:|Oops|rcu.*stall|hung_task|soft lockup|Kernel panic' "$1"; }

# programs_loaded NAME ALLOWED LEAST: each `load` line of the console is a case; the programs in ALLOWED must be refused, all
# others must load, and there are at least so many.
programs_loaded() {
	local name=$1 allowed=$2 least=$3 cnt=0 object program result what
	while read -r _ _ object program result what; do
		cnt=$((cnt + 1))
		case " $allowed " in
		*" $program "*) is "$name.load.$program" "$result" refused ;;
		*) is "$name.load.$program" "$result" ok || grep -A 12 "^vm: load $object $program " "$CONSOLE" >&2 ;;
		esac
		[ "$result" != ok ] || note "$program: $what instructions"
	done < <(grep '^vm: load ' "$CONSOLE")
	check "$name.load" "only $cnt programs were tried" test "$cnt" -ge "$least"
}

# stacks_known NAME: the cases of tests/vm/frames.c.
stacks_known() {
	local name=$1 cnt=0 what result
	while read -r _ _ what result; do
		cnt=$((cnt + 1))
		is "$name.frames.$what" "$result" ok || grep "^vm: frames $what" "$CONSOLE" >&2
	done < <(grep -E '^vm: frames [a-z-]+ (ok|wrong)' "$CONSOLE")
	is "$name.frames" "$cnt" 7
}
