#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# same_names.py tables NAMES FILE CNT [DEBUGFILE]	compares what ebb says (tests/symbol/names) with the symbol tables
#
# Reference: readelf's symbols, all that nm shows and their types, of FILE and DEBUGFILE (its own debug file); objdump's
# names of PLT entries; the table of .eh_frame_hdr. At CNT seeded random addresses of all sections with code, and at the
# first, the last and the next byte of CNT / 5 random functions, of as many that overlap, and of all odd ones:
#
#	covered		by functions with a size: the innermost has the name; which of several names for one place, ebb decides
#	plt		the entry's name as objdump has it; one of an IFUNC of the file itself has none (*ABS*+0x… there)
#	sizeless	behind a function without a size (see user/symbol/symtab.c), nothing else begins before the address
#	data		in a table between functions: it says that it is no function (nm says T, for where it is); nobody's
#	nobody's	all others: ebb must say file+0xADDRESS
#	demangled	of all these: the readable name is that of c++filt -i
#
# same_names.py lines NAMES FILE CNT [DEBUGFILE]	compares inlined functions and source lines with addr2line -i -f
#
# At CNT seeded random addresses that functions with a size cover: as many frames, each with the same file:line; the same
# names of all inlined functions, mangled and (-C) readable. The function itself has the symbol's name: that of DWARF, or an
# alias of it, or it with a suffix that DWARF does not know (.cold, .part.0), each counted.
#
# The last line says how many there were of each; exit code 1 and lines before it when ebb says anything else.
import bisect
import os
import random
import re
import struct
import subprocess
import sys

SIZELESS_MAX = 4096


def run(*argv, text=None):
    return subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                          universal_newlines=True, errors='surrogateescape').stdout


def ask(names, path, addresses, *options):
    """What ebb says: address -> [(kind, offset, file, line, name)], innermost first."""
    said = {}
    for line in run(names, *options, path, text=''.join('%x\n' % a for a in addresses)).splitlines():
        va, kind, off, file, number, name = line.split('\t')
        said.setdefault(int(va, 16), []).append((kind, int(off, 16), file, int(number), name))
    return said


def sections_of(path):
    """Number, name, address, offset in the file, size, flags of what is in memory."""
    found = []
    for line in run('readelf', '-WS', path).splitlines():
        m = re.match(r' *\[ *(\d+)\] (\S+) +(\S+) +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) \S+ +([A-Za-z]*) ', line)
        if m and 'A' in m[7]:
            found.append((int(m[1]), m[2], int(m[4], 16), int(m[5], 16), int(m[6], 16), m[7]))
    return found


def fde_starts(path, sections):
    """Where functions begin, of the sorted table of .eh_frame_hdr (LSB, "The .eh_frame_hdr section")."""
    for _, name, va, off, size, _ in sections:
        if name == '.eh_frame_hdr':
            with open(path, 'rb') as f:
                f.seek(off)
                data = f.read(size)
            if data[:4] == b'\x01\x1b\x03\x3b':
                count = struct.unpack_from('<I', data, 8)[0]
                return sorted(va + struct.unpack_from('<i', data, 12 + 8 * i)[0] for i in range(count))
    return []


class Reference:
    def __init__(self, path, debug):
        self.path = path
        self.is_arm64 = 'AArch64' in run('readelf', '-h', path)     # ebb knows no PLT of it
        self.sections = sections_of(path)
        self.code = [s for s in self.sections if 'X' in s[5]]
        self.fdes = fde_starts(path, self.sections)
        self.names = {}         # (start, size) of a function -> its names
        self.odd = set()        # of those, what is likely to be got wrong: no type, IFUNC
        self.starts = set()     # of symbols of any kind
        self.tables = set()     # ranges of data
        self.plt = {}
        for file in [path] + debug:
            self.read_symbols(file)
        self.functions = sorted(self.names)
        self.begins = [f[0] for f in self.functions]
        self.starts = sorted(self.starts)
        reach = 0
        self.reach = []         # the furthest end of a function up to each
        for start, size in self.functions:
            reach = max(reach, start + size)
            self.reach.append(reach)
        self.tables = [t for t in self.tables if self.section_at(t[0])]
        self.read_plt()

    def section_at(self, va):
        for s in self.code:
            if s[2] <= va < s[2] + s[4]:
                return s
        return None

    def read_symbols(self, path):
        for line in run('readelf', '-Ws', path).splitlines():
            w = line.split()
            if len(w) < 8 or not w[0].endswith(':') or not w[6].isdigit() or w[3] in ('TLS', 'SECTION', 'FILE'):
                continue
            va, size, name = int(w[1], 16), int(w[2], 0), w[7].split('@')[0]
            if not va or not name or name.startswith('.L') or re.match(r'\$[xdat](\.|$)', name):
                continue
            self.starts.add(va)
            if w[3] == 'OBJECT':
                self.tables.add((va, va + size))
            # hand-written assembly may forget the type, and nm takes what is in code for code
            if w[3] in ('FUNC', 'IFUNC') or (w[3] == 'NOTYPE' and size):
                section = self.section_at(va)
                if section:
                    size = min(size, section[2] + section[4] - va)
                    self.names.setdefault((va, size), set()).add(name)
                    if w[3] != 'FUNC':
                        self.odd.add((va, size))

    def read_plt(self):
        self.plt_sections = [s for s in self.code if s[1].startswith('.plt')]
        for section in [] if self.is_arm64 else self.plt_sections:
            for line in run('objdump', '-d', '-j', section[1], self.path).splitlines():
                m = re.match(r'([0-9a-f]+) <(.*)>:$', line)
                if m:
                    self.plt[int(m[1], 16)] = m[2]
        self.plt_begins = sorted(self.plt)

    def covering(self, va):
        """The innermost function with a size."""
        i = bisect.bisect_right(self.begins, va) - 1
        best = None
        while i >= 0 and self.reach[i] > va:
            start, size = self.functions[i]
            if best and start < best[0]:
                break
            if va < start + size and (not best or size < best[1]):
                best = (start, size)
            i -= 1
        return best

    def sizeless(self, va):
        i = bisect.bisect_right(self.starts, va) - 1
        if i < 0:
            return None
        start = self.starts[i]
        if (start, 0) not in self.names or self.covering(start) or va - start >= SIZELESS_MAX:
            return None
        if self.section_at(start) != self.section_at(va):
            return None
        if bisect.bisect_right(self.fdes, va) != bisect.bisect_right(self.fdes, start):
            return None
        return start

    def expect(self, va):
        """(what it is, its names or None for nobody's, where it begins)"""
        f = self.covering(va)
        if f:
            return 'covered', self.names[f], f[0]
        if any(s[2] <= va < s[2] + s[4] for s in self.plt_sections):
            i = bisect.bisect_right(self.plt_begins, va) - 1
            name = self.plt[self.plt_begins[i]] if i >= 0 else ''
            # the header has a name only by what follows it; *ABS* is an address, which the file has no dynamic symbol for
            if name.endswith('@plt') and not name.startswith('*ABS*'):
                return 'plt', {name.split('@')[0] + '@plt'}, self.plt_begins[i]
            return 'plt without a name', None, va
        start = self.sizeless(va)
        if start is not None:
            return 'sizeless', self.names[(start, 0)], start
        if any(low <= va < high for low, high in self.tables):
            return 'data', None, va
        return "nobody's", None, va

    def random_addresses(self, count):
        total = sum(s[4] for s in self.code)
        found = set()
        for at in random.sample(range(total), min(count, total)):
            for s in self.code:
                if at < s[4]:
                    found.add(s[2] + at)
                    break
                at -= s[4]
        return found

    def addresses(self, count):
        found = self.random_addresses(count)
        edges = [f for f in self.functions if f[1]]
        nested = [f for i, f in enumerate(self.functions) if f[1] and i and self.reach[i - 1] > f[0]]
        odd = [f for f in sorted(self.odd) if f[1]]
        for start, size in (random.sample(edges, min(count // 5, len(edges))) + odd +
                            random.sample(nested, min(count // 5, len(nested)))):
            found.update(va for va in (start, start + size - 1, start + size) if self.section_at(va))
        for s in self.plt_sections:
            found.update(random.sample(range(s[2], s[2] + s[4]), min(count // 10, s[4])))
        for start, size in self.functions:
            if not size:
                found.update(va for va in (start, start + 1, start + 4095, start + 4096) if self.section_at(va))
        return sorted(found)


def demangled(names):
    """As nm -C and addr2line -C do it, which c++filt does without its verbose types."""
    return run('c++filt', '-i', text=''.join(n + '\n' for n in names)).splitlines()


def compare_tables(names, path, count, debug):
    ref = Reference(path, debug)
    minimum = count // 10 if ref.names else 0
    base = os.path.basename(path)
    addresses = ref.addresses(count)
    said = ask(names, path, addresses, '-m')
    counts, wrong = {}, 0
    for va in addresses:
        what, want, start = ref.expect(va)
        counts[what] = counts.get(what, 0) + 1
        if va not in said:
            got, good = 'nothing', False
        else:
            kind, off, _, _, got = said[va][-1]
            good = (kind == 'known' and got in want and off == va - start) if want else \
                   (kind == 'place' and got == '%s+0x%x' % (base, va))
        if not good:
            wrong += 1
            if wrong <= 20:
                print('%x: ebb says %s, want %s (%s)' % (va, said.get(va), sorted(want)[:4] if want else None, what))
    readable, mangled = ask(names, path, addresses), [said[va][-1][4] for va in addresses]
    for va, name, want in zip(addresses, mangled, demangled(mangled)):
        got = readable[va][-1][4]
        if got != want:
            wrong += 1
            if wrong <= 20:
                print('%x: %s is %s, want %s' % (va, name, got, want))
        elif got != name:
            counts['demangled'] = counts.get('demangled', 0) + 1
    print('%d addresses: %s; %d differ' % (len(addresses), ', '.join('%d %s' % (counts[k], k) for k in sorted(counts)), wrong))
    return wrong or counts.get('covered', 0) < minimum


def addr2line(tool, path, addresses, *options):
    """address -> [(name, file, line)], innermost first; None and 0 for what is not known."""
    found, frames, name = {}, None, None
    for line in run(tool, '-a', '-i', '-f', *options, '-e', path,
                    text=''.join('%x\n' % a for a in addresses)).splitlines():
        if re.match('0x[0-9a-f]+$', line):
            frames, name = found.setdefault(int(line, 16), []), None
        elif name is None:
            name = line
        else:
            file, number = re.sub(r' \(discriminator \d+\)$', '', line).rsplit(':', 1)
            frames.append((None if name == '??' else name, None if file == '??' else file,
                           int(number) if number.isdigit() else 0))
            name = None
    return found


def same_file(ours, theirs):
    """Equal; or what stands in the folder of the compilation itself: binutils puts a relative one in front of it twice."""
    if ours == theirs:
        return True
    return bool(ours and theirs and ours[0] != '/' and theirs.endswith('/' + ours) and
                ours.startswith(theirs[:-len(ours)]))


def same_structor(a, b):
    """Mangled names that differ in the kind of a constructor or destructor: C4 stands for all of one in DWARF."""
    return len(a) == len(b) and all(x == y or (i and a[i - 1] in 'CD' and x in '0125' and y == '4')
                                    for i, (x, y) in enumerate(zip(a, b)))


def same_function(ours, theirs, readable, aliases):
    """The symbol's name and DWARF's: how they are the same, or None."""
    if ours == theirs:
        return 'same'
    if theirs is None and '_GLOBAL__N_' in ours:
        return 'local'
    if theirs in aliases:
        return 'alias'
    base = re.sub(r'(\.(cold|part|isra|constprop|lto_priv|localalias)(\.\d+)*)+$', '', ours)
    if base == theirs:
        return 'suffix'
    if same_structor(base, theirs):
        return 'structor'
    # GCC leaves the linkage names of local functions out
    if ours.startswith('_Z') and re.search('(^|::)' + re.escape(theirs) + r'(\[abi:\w+\])?[(<]', readable):
        return 'bare'
    return None


class Lines:
    """What readelf decodes of .debug_line, where addr2line has another file for the same line: a second opinion."""
    def __init__(self, path):
        self.path, self.rows = path, None

    def read(self):
        self.rows, unit = {}, None
        for line in run('readelf', '--debug-dump=decodedline', self.path).splitlines():
            m = re.match(r'(\S+) +(\d+) +(0x[0-9a-f]+|0) ', line)
            if m:
                self.rows.setdefault(int(m[3], 16), set()).add((m[1], int(m[2])))
        self.begins = sorted(self.rows)

    def agrees(self, va, file, number):
        if self.rows is None:
            self.read()
        i = bisect.bisect_right(self.begins, va) - 1
        return i >= 0 and (os.path.basename(file), number) in self.rows[self.begins[i]]


def compare_frames(va, ours, theirs, readable, aliases, lines):
    """How they are the same, or None. Where there is no line, binutils names the object file (STT_FILE): not compared."""
    if len(ours) != len(theirs):
        return None
    # a function that is local to a C++ file has no linkage name: there addr2line says the symbol that covers the address,
    # also of what is inlined there, or nothing (llvm-symbolizer and ebb say what DW_AT_name has)
    odd = [a[0] != b[0] for a, b in zip(ours[:-1], theirs)]
    if any(o and (a[0].startswith('_Z') or (b[0] and b[0] not in aliases)) for o, a, b in zip(odd, ours, theirs)):
        return None
    how = same_function(ours[-1][0], theirs[-1][0], readable, aliases)
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if a[2] != b[2]:
            return None
        if a[2] and not same_file(a[1], b[1]):
            # of a function whose body is in an included file addr2line says the including one, with the line of the other
            if i or not how or not lines.agrees(va, a[1], a[2]):
                return None
            how = 'other file'
    if how and any(odd):
        how = 'local'
    return how and how + (' inlined' if len(ours) > 1 else '')


def compare_lines(names, path, count, debug):
    ref = Reference(path, debug)
    addresses = sorted(va for va in ref.random_addresses(count) if ref.covering(va))
    where = (debug or [path])[0]
    tool = 'aarch64-linux-gnu-addr2line' if ref.is_arm64 else 'addr2line'
    ours, theirs = ask(names, path, addresses, '-m'), addr2line(tool, where, addresses)
    readable, shown = ask(names, path, addresses), addr2line(tool, where, addresses, '-C')
    whole = ask(names, path, addresses, '-m', '-n')
    lines = Lines(where)
    counts, wrong = {}, 0
    for va in addresses:
        aliases = ref.names[ref.covering(va)]
        pairs = [([(n, None if f == '-' else f, l) for _, _, f, l, n in said], expected) for said, expected in
                 ((ours[va], theirs[va]), (readable[va], shown[va]))]
        how = compare_frames(va, *pairs[0], readable[va][-1][4], aliases, lines)
        # readable names: of the inlined ones, since the last one may be an alias
        if how and not how.startswith('local') and [x[0] for x in pairs[1][0][:-1]] != [x[0] for x in pairs[1][1][:-1]]:
            how = None
        # without inlined functions: the function itself, with the line of the address
        if len(whole[va]) != 1 or whole[va][0][2:4] != ours[va][0][2:4] or whole[va][0][4] != ours[va][-1][4]:
            how = None
        counts[how or 'other'] = counts.get(how or 'other', 0) + 1
        if not how:
            wrong += 1
            if wrong <= 10:
                for a, b in pairs:
                    print('%x\n    ebb       %s\n    addr2line %s' % (va, a, b))
    print('%d addresses: %s; %d differ' % (len(addresses), ', '.join('%d %s' % (counts[k], k) for k in sorted(counts)), wrong))
    return wrong or len(addresses) < count // 2


def main():
    random.seed(20240229)
    mode, names, path, count = sys.argv[1], sys.argv[2], os.path.realpath(sys.argv[3]), int(sys.argv[4])
    if mode == 'tables':
        return 1 if compare_tables(names, path, count, sys.argv[5:]) else 0
    if mode == 'lines':
        return 1 if compare_lines(names, path, count, sys.argv[5:]) else 0
    return 2


if __name__ == '__main__':
    sys.exit(main())
