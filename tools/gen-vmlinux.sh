#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# gen-vmlinux.sh [ARCH...]	writes vmlinux/ARCH/vmlinux.h; ARCH is x86 or arm64, both without arguments
#
# The kernel's types for the BPF programs, from the BTF of a Debian kernel rather than of the machine that happens to
# build: every build sees the same types, and CO-RE moves them to the kernel that runs. The newest 6.12 is taken, else
# the newest 6.1; the cloud flavour, because it is the smallest with the same types.
#
# Nothing is installed and no root is needed: apt works on a state of its own below $TMPDIR, with the mirror and the
# keyring that this machine is configured for, so signatures are checked and a foreign architecture needs no
# `dpkg --add-architecture`. The headers are committed; run this again only to move to a newer kernel.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C

die() { echo "gen-vmlinux: $*" >&2; exit 1; }

for tool in apt-get apt-cache dpkg-deb bpftool python3; do
	command -v "$tool" > /dev/null || die "$tool is not installed"
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# The Debian archives among the machine's sources, whichever file format they are written in. Where Debian's keyring
# is not at its usual place, apt's own trusted keys decide.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
option=
[ ! -e "$keyring" ] || option="[signed-by=$keyring] "
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
	awk -v option="$option" '$1 ~ /\/debian(-security)?\/?$/ && !seen[$1, $2]++ {
		print "deb " option $1, $2, "main" }' > "$tmp/sources.list"
[ -s "$tmp/sources.list" ] || die "no Debian archive among this machine's apt sources"

# btf.py IMAGE OUT: a kernel image's BTF. The blob is looked for by its header (magic, version 1, 24 bytes long,
# types first, strings right behind them and ending in a NUL); the largest hit is the kernel's own.
cat > "$tmp/btf.py" <<'PY'
import lzma, struct, subprocess, sys, zlib

def pipe(tool, data):
    # The size that Linux appends makes the tools complain about trailing bytes: what came out counts.
    try:
        return subprocess.run([tool, "-dc"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except FileNotFoundError:
        sys.exit("gen-vmlinux: the kernel image is packed with %s, which is not installed" % tool)

def unpack(data):
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(data)
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return pipe("zstd", data)
    if data.startswith(b"\x02\x21\x4c\x18"):
        return pipe("lz4", data)
    return data

def payload(image):
    if image[0x202:0x206] == b"HdrS":           # x86 bzImage, Documentation/arch/x86/boot.rst
        setup = image[0x1f1] or 4
        offset, length = struct.unpack_from("<II", image, 0x248)
        offset += (setup + 1) * 512
        return image[offset:offset + length - 4]    # the last four bytes are the unpacked size
    if image[4:8] == b"zimg":                   # EFI zboot, drivers/firmware/efi/libstub/zboot-header.S
        offset, length = struct.unpack_from("<II", image, 8)
        return image[offset:offset + length]
    return image                                # a raw arm64 Image, or one packed as a whole

def largest_btf(data):
    best, at = b"", data.find(b"\x9f\xeb\x01\x00\x18\x00\x00\x00")
    while at >= 0:
        if at + 24 <= len(data):
            type_off, type_len, str_off, str_len = struct.unpack_from("<4I", data, at + 8)
            end = at + 24 + str_off + str_len
            if type_off == 0 and str_off == type_len and end <= len(data) and data[end - 1] == 0 \
               and end - at > len(best):
                best = data[at:end]
        at = data.find(b"\x9f\xeb\x01\x00\x18\x00\x00\x00", at + 8)
    return best

with open(sys.argv[1], "rb") as f:
    btf = largest_btf(unpack(payload(f.read())))
if len(btf) < 1 << 20:
    sys.exit("gen-vmlinux: no BTF in %s" % sys.argv[1])
with open(sys.argv[2], "wb") as f:
    f.write(btf)
PY

generate()
{
	arch=$1
	case $arch in
	x86) deb_arch=amd64 ;;
	arm64) deb_arch=arm64 ;;
	*) die "unknown architecture '$arch': x86 or arm64" ;;
	esac
	dir=$tmp/$arch
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/image"
	: > "$dir/status"
	cat > "$dir/apt.conf" <<-CONF
	APT::Architecture "$deb_arch";
	APT::Architectures { "$deb_arch"; };
	Dir::State "$dir/state";
	Dir::State::status "$dir/status";
	Dir::Cache "$dir/cache";
	Dir::Etc::sourcelist "$tmp/sources.list";
	Dir::Etc::sourceparts "-";
	Acquire::Languages "none";
	Acquire::Retries "3";
	APT::Sandbox::User "";
	CONF
	export APT_CONFIG="$dir/apt.conf"
	apt-get update -qq

	package=
	for series in 6.12 6.1; do
		package=$(apt-cache search --names-only "^linux-image-$series\\.[0-9].*-cloud-$deb_arch\$" |
			awk '{print $1}' | sort -V | tail -n 1)
		[ -z "$package" ] || break
	done
	[ -n "$package" ] || die "apt offers neither a 6.12 nor a 6.1 cloud kernel for $deb_arch"
	echo "$arch: $package"
	(cd "$dir" && apt-get download -qq "$package")
	deb=$(echo "$dir"/*.deb)
	version=$(dpkg-deb -f "$deb" Version)
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/image" --wildcards './boot/vmlinuz-*'
	python3 "$tmp/btf.py" "$dir"/image/boot/vmlinuz-* "$dir/btf"

	{
		echo "/* SPDX-License-Identifier: GPL-2.0-only */"
		echo "/*"
		echo " * Generated by tools/gen-vmlinux.sh: do not edit."
		echo " * Debian package $package, version $version, $deb_arch."
		echo " */"
		bpftool btf dump file "$dir/btf" format c
	} > "$dir/vmlinux.h"
	grep -q '^struct task_struct {' "$dir/vmlinux.h" || die "$arch: the header has no struct task_struct"
	mkdir -p "vmlinux/$arch"
	cp "$dir/vmlinux.h" "vmlinux/$arch/vmlinux.h.tmp"
	mv "vmlinux/$arch/vmlinux.h.tmp" "vmlinux/$arch/vmlinux.h"
	echo "vmlinux/$arch/vmlinux.h: $(wc -l < "vmlinux/$arch/vmlinux.h") lines from $package $version"
	rm -rf "$dir"
}

[ $# -gt 0 ] || set -- x86 arm64
for arch; do
	generate "$arch"
done
