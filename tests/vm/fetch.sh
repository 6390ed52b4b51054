# SPDX-License-Identifier: GPL-2.0-only
# Debian's packages without installing them, of any suite and machine, for tests/vm/*.sh. Sourced by lib.sh.
#
#	kernel_fetch SERIES ARCH SUITE…		the newest cloud kernel of a series ("6.1", "7"): its version in $KERNEL, what
#						qemu boots in $BOOT
#	packages_fetch ARCH SUITE… -- NAME…	packages unpacked into one folder, $TREE
#
# All is kept under build/vm, complete or not at all: a second run asks nobody. apt works on a state of its own there, with
# the mirror and the keyring that this machine is configured for, so signatures are checked and a foreign machine's packages
# need no `dpkg --add-architecture`. Where it cannot be had, both fail and say why in $WHY.

VM=$ROOT/${O:-build}/vm

# The machine's mirror of an archive of Debian ("debian", "debian-security").
mirror_of() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		sed -n "s,^\(.*/$1\)/*\$,\1,p" | head -n 1
}

# apt_private ARCH SUITE…: a state of apt for these, brought up to date; $APT_CONFIG is for a subshell only.
apt_private() {
	local arch=$1 dir mirror suite keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	shift
	dir=$VM/apt-$arch-$1
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/status"
	[ -e "$keyring" ] || { WHY="no keyring of Debian's archive (debian-archive-keyring)"; return 1; }
	for suite; do
		case $suite in
		*-security) mirror=$(mirror_of debian-security) ;;
		*) mirror=$(mirror_of debian) ;;
		esac
		[ -n "$mirror" ] || { WHY="no Debian archive for $suite among this machine's apt sources"; return 1; }
		echo "deb [signed-by=$keyring] $mirror $suite main"
	done >"$dir/sources.list" || return
	cat >"$dir/apt.conf" <<-CONF
	APT::Architecture "$arch";
	APT::Architectures { "$arch"; };
	Dir::State "$dir";
	Dir::State::lists "$dir/lists";
	Dir::State::status "$dir/status";
	Dir::Cache "$dir/cache";
	Dir::Etc::sourcelist "$dir/sources.list";
	Dir::Etc::sourceparts "-";
	Acquire::Languages "none";
	Acquire::Retries "3";
	APT::Sandbox::User "root";
	CONF
	export APT_CONFIG=$dir/apt.conf
	apt-get update -qq >&2 || { WHY="apt-get update of $* ($arch) failed"; return 1; }
}

# Two scripts side by side may want the same: fetch_once FOLDER FUNCTION ARGUMENT… has the function fill a new folder, once.
fetch_once() {
	local folder=$1 lock err=0
	shift
	mkdir -p "$VM"
	exec {lock}>"$VM/lock" && flock "$lock"
	if [ ! -e "$folder" ]; then
		rm -rf "$folder.new" && mkdir "$folder.new"
		# a subshell: apt's configuration is in the environment. Its last word says why it failed.
		WHY=$( (cd "$folder.new" && WHY="no word of why" && "$@" || { printf %s "$WHY"; exit 1; }) ) || err=1
		[ $err = 0 ] && mv "$folder.new" "$folder" || { rm -rf "$folder.new"; err=1; }
	fi
	exec {lock}>&-
	return $err
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

# Fills the current folder with `boot` and `version`.
kernel_fill() {
	local series=$1 arch=$2 package image
	shift 2
	apt_private "$arch" "$@" || return
	# The image moved into linux-binary-* at 6.19; whichever has the newest version.
	package=$(apt-cache search --names-only "^linux-(image|binary)-${series//./\\.}\\.[0-9].*-cloud-$arch\$" |
		awk '{ v = $1; sub(/^linux-(image|binary)-/, "", v); print v, $1 }' | sort -k 1,1V -k 2,2r | tail -n 1)
	[ -n "$package" ] || { WHY="no cloud kernel $series for $arch in $*"; return 1; }
	echo "${package% *}" >version
	package=${package#* }
	case $package in linux-image-*)
		! apt-cache show "linux-binary-${package#linux-image-}" >/dev/null 2>&1 || package=linux-binary-${package#linux-image-} ;;
	esac
	apt-get download -qq "$package" >&2 || { WHY="$package could not be downloaded"; return 1; }
	dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x --wildcards --transform='s,.*/,,' '*/vmlinuz*' >&2
	rm -f "$package"_*.deb
	for image in vmlinuz*; do break; done
	[ -s "$image" ] || { WHY="$package holds no kernel"; return 1; }
	case $arch in
	amd64) vmlinux_unpack "$image" boot || { WHY="$package: the kernel is packed in an unknown way"; return 1; } ;;
	*) mv "$image" boot ;;
	esac
	rm -f vmlinuz*
}

kernel_fetch() {
	local folder=$VM/linux-$1-$2
	fetch_once "$folder" kernel_fill "$@" || return
	KERNEL=$(cat "$folder/version")
	BOOT=$folder/boot
}

packages_fill() {
	local arch=$1 suites=() deb
	shift
	while [ "$1" != -- ]; do suites+=("$1"); shift; done
	shift
	apt_private "$arch" "${suites[@]}" || return
	apt-get download -qq "$@" >&2 || { WHY="$* ($arch) could not be downloaded"; return 1; }
	for deb in *.deb; do dpkg-deb -x "$deb" . || { WHY="$deb cannot be unpacked"; return 1; }; done
	rm -f ./*.deb
}

packages_fetch() {
	TREE=$VM/tree-$1
	fetch_once "$TREE" packages_fill "$@"
}
