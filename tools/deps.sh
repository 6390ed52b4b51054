#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# deps.sh		installs what build and tests need and is not there yet (root only if something is missing)
# deps.sh --bench	the same, and the tools that `make bench` compares with
# deps.sh --list	prints the packages, one a line, and changes nothing
#
# Debian and Ubuntu, through apt; elsewhere it says in words what is needed and fails. Missing build packages are an
# error; without the others some tests skip, so those that apt does not have are named and counted.
#
# A package is a group "a|b" where releases name it differently: any one that is installed will do, else the first that
# apt offers. Services that come along are not started.
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

BUILD=(gcc make libc6-dev libbpf-dev libelf-dev libdw-dev zlib1g-dev liblzma-dev libiberty-dev libcapstone-dev 'pkg-config|pkgconf')
TESTS=(qemu-system-x86 qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross debian-archive-keyring
	busybox-static cpio lz4 zstd xz-utils g++ binutils gdb python3 procps util-linux bsdutils iproute2
	libc6-dbg dwz redis-server redis-tools 'nginx-light|nginx' ripgrep musl-tools
	libjemalloc2 libjemalloc-dev
	'libtcmalloc-minimal4|libtcmalloc-minimal4t64' libgoogle-perftools-dev
	'libmimalloc2.0|libmimalloc2.1|libmimalloc3|libmimalloc2' libmimalloc-dev
	'libclang-rt-19-dev|libclang-rt-18-dev|libclang-rt-17-dev|libclang-rt-16-dev')
BENCH=(bpftrace 'libbpf-tools|bpfcc-tools')

# 16 is the oldest clang that does not crash on signed division for BPF; 19 is the one that ebb is tested with (bookworm
# has it), so it is taken where apt has several; the last is the newest name worth looking for.
CLANG_MIN=16
CLANG_BEST=19
CLANG_MAX=29

say() { echo "dependencies: $*"; }
die() { echo "tools/deps.sh: $*" >&2; exit 1; }

in_words()
{
	cat <<-'WORDS'
	ebb needs, to build:
	  gcc, make, clang 16 or later (with the BPF back end), bpftool, pkg-config,
	  and the headers of libbpf (1.1 or later), libelf, libdw (elfutils), zlib, libiberty (binutils), Capstone 4 or later;
	for its tests:
	  g++, binutils, dwz, gdb, python3, node, procps, util-linux (script, unshare), iproute2, musl-gcc,
	  redis-server, redis-cli, redis-benchmark, nginx, ripgrep,
	  jemalloc, tcmalloc (gperftools) and mimalloc with their headers, clang's libFuzzer (compiler-rt),
	  debug information of the C library;
	for comparison in its benchmarks:
	  bpftrace and libbpf-tools (or bcc's tools).
	WORDS
}

has_clang()
{
	local n

	for ((n = CLANG_MAX; n >= CLANG_MIN; n--)); do
		command -v "clang-$n" > /dev/null && return 0
	done
	n=$(clang -dumpversion 2> /dev/null) && [ "${n%%.*}" -ge "$CLANG_MIN" ] 2> /dev/null
}

# Ubuntu's bpftool is a wrapper that works only with the tools of the kernel that runs; those of any kernel will do.
has_bpftool()
{
	local path

	for path in bpftool /usr/lib/linux-tools/*/bpftool; do
		"$path" version > /dev/null 2>&1 && return 0
	done
	return 1
}

# Sets $installed to " a b c ", of the names that are given.
read_installed()
{
	installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2> /dev/null |
		awk '$1 == "installed" { printf "%s ", $2 }')"
}

# Sets $offered to " a b c ", of the names that are given: those that apt could install.
read_offered()
{
	offered=" $(apt-cache policy "$@" 2> /dev/null |
		awk '/^[^ ].*:$/ { name = $1; sub(/:.*/, "", name) }
		     $1 == "Candidate:" && $2 != "(none)" { printf "%s ", name }')"
}

# The first name of a group that is in a list " a b c "; fails if none is.
first_in()
{
	local name

	for name in ${1//|/ }; do
		case $2 in *" $name "*) echo "$name"; return 0 ;; esac
	done
	return 1
}

names_of() { local group; for group; do echo "${group//|/ }"; done; }

# In the order of preference.
clang_names()
{
	local n

	echo "clang-$CLANG_BEST"
	for ((n = CLANG_MAX; n >= CLANG_MIN; n--)); do [ "$n" = "$CLANG_BEST" ] || echo "clang-$n"; done
}

# Fills missing_build and missing_tests with the groups that are not there. clang, bpftool and node count as there when
# they run, wherever they come from.
find_missing()
{
	local group

	read_installed $(names_of "${BUILD[@]}" "${TESTS[@]}" "${BENCH[@]}")
	missing_build=() missing_tests=() missing_bench=()
	for group in "${BUILD[@]}"; do first_in "$group" "$installed" > /dev/null || missing_build+=("$group"); done
	for group in "${TESTS[@]}"; do first_in "$group" "$installed" > /dev/null || missing_tests+=("$group"); done
	for group in "${BENCH[@]}"; do first_in "$group" "$installed" > /dev/null || missing_bench+=("$group"); done
	has_clang || missing_build+=("$(clang_names | paste -sd '|')")
	# Ubuntu has no package of that name in most releases; its two come in bpftool's place in choose().
	has_bpftool || missing_build+=("bpftool")
	command -v node > /dev/null || missing_tests+=("nodejs")
	[ -z "$with_bench" ] || missing_tests+=("${missing_bench[@]}")
}

# Sets chosen (names to install), unavailable_build and unavailable_tests (groups that apt does not have).
choose()
{
	local group name

	chosen=() unavailable_build=() unavailable_tests=()
	[ $((${#missing_build[@]} + ${#missing_tests[@]})) -gt 0 ] || return 0
	read_offered $(names_of "${missing_build[@]}" "${missing_tests[@]}") linux-tools-common linux-tools-generic
	for group in "${missing_build[@]}"; do
		if name=$(first_in "$group" "$offered"); then
			chosen+=("$name")
		elif [ "$group" = bpftool ] && first_in linux-tools-generic "$offered" > /dev/null; then
			chosen+=(linux-tools-common linux-tools-generic)
		else
			unavailable_build+=("$(short "$group")")
		fi
	done
	for group in "${missing_tests[@]}"; do
		if name=$(first_in "$group" "$offered"); then
			chosen+=("$name")
		else
			unavailable_tests+=("$(short "$group")")
		fi
	done
}

# A group as one says it to people.
short()
{
	case $1 in
	clang-*) echo "clang >= $CLANG_MIN" ;;
	*) echo "${1%%|*}" ;;
	esac
}

have_lists() { [ -n "$(find /var/lib/apt/lists -name '*_Packages*' 2> /dev/null | head -n 1)" ]; }

update()
{
	[ -z "$updated" ] || return 0
	updated=1
	say "apt-get update"
	apt-get update -qq || echo "tools/deps.sh: apt-get update failed; going on with the lists that are there" >&2
}

# What apt says is shown when it fails.
install()
{
	local log err=0

	log=$(mktemp)
	apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" \
		> "$log" 2>&1 < /dev/null || err=1
	[ "$err" = 0 ] || tail -n 15 "$log" >&2
	rm -f "$log"
	return "$err"
}

# invoke-rc.d and systemd ask policy-rc.d whether they may start a service: 101 is no. The answer is bound to this
# process, so it ends with it even when it is killed and cannot take the file away. One that says no already stays.
POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.ebb-saved
MARK='Written by tools/deps.sh of ebb'

stop_services()
{
	start_services				# what a killed run left
	[ -x "$POLICY" ] && { "$POLICY" ebb-asks start > /dev/null 2>&1; [ $? = 101 ]; } && return 0
	if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
		mv "$POLICY" "$SAVED" || return 1
	fi
	cat > "$POLICY" <<-POLICY
	#!/bin/sh
	# $MARK for the time of an installation; worth nothing once that process is gone.
	[ "\$(cut -d ' ' -f 22 /proc/$$/stat 2> /dev/null)" != $(cut -d ' ' -f 22 /proc/$$/stat) ] || exit 101
	[ ! -x $SAVED ] || exec $SAVED "\$@"
	exit 0
	POLICY
	chmod 755 "$POLICY"
}

start_services()
{
	grep -qs "$MARK" "$POLICY" && rm -f "$POLICY"
	if [ -e "$SAVED" ] || [ -L "$SAVED" ]; then
		[ -e "$POLICY" ] || mv "$SAVED" "$POLICY"
	fi
	return 0
}

with_bench= updated= list=
for option; do
	case $option in
	--bench) with_bench=1 ;;
	--list) list=1 with_bench=1 ;;
	*) die "unknown option '$option'; usage: tools/deps.sh [--bench | --list]" ;;
	esac
done

if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
	in_words
	echo "Installing them by itself works on Debian and Ubuntu only." >&2
	exit 1
fi

if [ -n "$list" ]; then
	all=("${BUILD[@]}" "$(clang_names | paste -sd '|')" "bpftool|linux-tools-generic" "${TESTS[@]}" nodejs "${BENCH[@]}")
	read_installed $(names_of "${all[@]}")
	read_offered $(names_of "${all[@]}")
	for group in "${all[@]}"; do
		first_in "$group" "$installed" || first_in "$group" "$offered" || echo "${group%%|*}"
	done
	exit 0
fi

# "optional packages missing" covers what the tests would use and, unless it is asked for, what only benchmarks use.
finish()
{
	local optional=("${unavailable_tests[@]}" "${failed_tests[@]}")

	[ ${#unavailable_build[@]} = 0 ] || die "needed to build, and apt could not install: ${unavailable_build[*]}"
	say "$1"
	[ ${#optional[@]} = 0 ] ||
		say "optional packages missing: ${#optional[@]} (${optional[*]}); some tests will be skipped"
	exit 0
}

failed_tests=()
find_missing
choose
if [ $((${#missing_build[@]} + ${#missing_tests[@]})) = 0 ]; then
	finish "nothing to install"
fi
if [ ${#chosen[@]} = 0 ] && [ ${#unavailable_build[@]} = 0 ] && have_lists; then
	finish "nothing to install"
fi
if [ "$(id -u)" != 0 ]; then
	echo "dependencies: missing: $(for group in "${missing_build[@]}" "${missing_tests[@]}"; do short "$group"; done |
		paste -sd ' ')" >&2
	echo "run as root: tools/deps.sh, for instance by: sudo $0" >&2
	# Without what only tests use, building works.
	[ ${#missing_build[@]} = 0 ] && exit 0
	exit 1
fi

# One at a time, since the policy file is shared.
exec 9> /run/ebb-deps.lock && flock 9
trap start_services EXIT
trap 'exit 1' HUP INT TERM
have_lists || update
find_missing
choose
[ ${#unavailable_build[@]} = 0 ] || { update; choose; }
[ ${#chosen[@]} -gt 0 ] || finish "nothing to install"

stop_services || die "cannot write $POLICY"
say "installing ${chosen[*]}"
if ! install "${chosen[@]}"; then
	# Old lists name files that the mirror has dropped; one package that cannot be installed takes all with it.
	update
	if ! install "${chosen[@]}"; then
		say "installing one by one"
		for name in "${chosen[@]}"; do install "$name" || say "failed: $name"; done
	fi
fi

find_missing
for group in "${missing_build[@]}"; do
	case " ${unavailable_build[*]} " in
	*" $(short "$group") "*) ;;
	*) unavailable_build+=("$(short "$group")") ;;
	esac
done
for group in "${missing_tests[@]}"; do
	case " ${unavailable_tests[*]} " in
	*" $(short "$group") "*) ;;
	*) failed_tests+=("$(short "$group")") ;;
	esac
done
finish "installed"
