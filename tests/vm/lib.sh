# SPDX-License-Identifier: GPL-2.0-only
# Debian's own kernels under software emulation, for tests/vm/*.sh. Sourced after tests/e2e/lib.sh.
#
#	kernel_fetch METAPACKAGE	the newest kernel of that series: its version in $KERNEL, its ELF file in $VMLINUX
#	initrd_make FILE PROGRAM…	busybox, the guest's scripts, programs with the libraries that they need
#	guest_boot INITRD SECONDS	boots, $CONSOLE has what it printed; its exit code in $STATUS
#
# Kernels are kept under build/vm: a second run fetches nothing. What was learned about booting them: the ELF file boots
# through PVH without unpacking anything in the guest; one CPU, because TCG with two panics now and then; pc, because microvm
# hangs; 6.1 needs tsc=reliable. isa-debug-exit gives (code << 1) | 1, and a panic ends qemu with 0.

VM=$ROOT/${O:-build}/vm
GUEST=$ROOT/tests/vm/guest

need_vm() {
	local tool
	need_ebb
	[ "$(uname -m)" = x86_64 ] || { skip "$E2E" "boots x86-64 kernels only"; finish; }
	for tool in qemu-system-x86_64 busybox cpio apt-get dpkg-deb; do
		command -v "$tool" >/dev/null || { skip "$E2E" "$tool is not installed"; finish; }
	done
}

# bzImage -> the ELF file in it (Documentation/arch/x86/boot.rst: payload_offset, payload_length). Its last 4 bytes are its size.
vmlinux_unpack() {
	local image=$1 out=$2 setup off len unpack
	number() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
	setup=$(number $((0x1f1)) 1)
	[ "$setup" != 0 ] || setup=4
	off=$(((setup + 1) * 512 + $(number $((0x248)) 4)))
	len=$(number $((0x24c)) 4)
	case $(od -An -t x1 -j "$off" -N 4 "$image" | tr -d ' ') in
	fd377a58) unpack='xz -dc --single-stream' ;;
	28b52ffd) unpack='zstd -dc -q' ;;
	02214c18) unpack='lz4 -dc' ;;
	1f8b*) unpack='gzip -dc' ;;
	*) return 1 ;;
	esac
	tail -c +$((off + 1)) "$image" | head -c $((len - 4)) | $unpack >"$out" 2>/dev/null
	[ "$(od -An -t x1 -N 4 "$out" | tr -d ' ')" = 7f454c46 ]
}

kernel_package() { apt-cache depends "$1" 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }'; }

# Two runs side by side may want the same one.
kernel_fetch() {
	local package lock
	mkdir -p "$VM"
	exec {lock}>"$VM/lock" && flock "$lock"
	package=$(kernel_package "$1")
	[ -n "$package" ] || { apt-get update -qq >&2; package=$(kernel_package "$1"); }
	KERNEL=${package#linux-image-}
	VMLINUX=$VM/$KERNEL/vmlinux
	if [ -n "$package" ] && [ ! -e "$VMLINUX" ]; then
		mkdir -p "$WORK/deb"
		(cd "$WORK/deb" && { apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }; }) >&2
		dpkg-deb --fsys-tarfile "$WORK/deb/$package"_*.deb 2>/dev/null | tar -x -C "$WORK/deb" --wildcards './boot/vmlinuz*' 2>/dev/null
		mkdir -p "$VM/$KERNEL"
		vmlinux_unpack "$WORK"/deb/boot/vmlinuz* "$WORK/vmlinux" && mv "$WORK/vmlinux" "$VMLINUX"
		rm -rf "$WORK/deb"
	fi
	exec {lock}>&-
	[ -n "$package" ] && [ -e "$VMLINUX" ]
}

initrd_make() {
	local out=$1 root=$WORK/initrd file
	shift
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,run,etc,t}
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$GUEST/init" "$root/init"
	cp "$GUEST/run" "$root/t/run"
	chmod 755 "$root/init" "$root/t/run"
	for file; do
		cp "$file" "$root/t/"
		# where the dynamic linker looks: the paths that it found them at here
		ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do
			mkdir -p "$root$(dirname "$lib")"
			cp -L "$lib" "$root$lib"
		done
	done
	(cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) >"$out"
	rm -rf "$root"
}

guest_boot() {
	CONSOLE=$WORK/console
	start guest qemu-system-x86_64 -accel tcg -cpu max -smp 1 -m 1024 -machine pc -no-user-config -nodefaults -display none \
		-monitor none -no-reboot -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=0x4 -kernel "$VMLINUX" \
		-initrd "$1" -append 'console=ttyS0 panic=-1 loglevel=4 tsc=reliable'
	wait_end guest "$2"
	tr -d '\r' <"${OUT[guest]:-$WORK/guest.out}" >"$CONSOLE"
	# an odd code and the end mark: anything else is a panic, or the time was up
	if [ "$STATUS" != hung ] && ((STATUS & 1)) && grep -q '^vm: done' "$CONSOLE"; then
		STATUS=$((STATUS >> 1))
	else
		STATUS="no end ($STATUS)"
	fi
}

# What no kernel should say.
kernel_complaints() { grep -aE 'WARNING: CPU|BUG:|Oops|rcu.*stall|hung_task|soft lockup|Kernel panic' "$1"; }
