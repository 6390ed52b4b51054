# SPDX-License-Identifier: GPL-2.0-only
# site.py FILE SYMBOL: the offset in FILE of the function SYMBOL of its .symtab or .dynsym.
import struct, sys

data = open(sys.argv[1], "rb").read()
want = sys.argv[2].encode()
phoff, shoff = struct.unpack_from("<QQ", data, 32)
phsize, phnum, shsize, shnum = struct.unpack_from("<HHHH", data, 54)
segments = [struct.unpack_from("<IIQQQQQQ", data, phoff + i * phsize) for i in range(phnum)]
sections = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + i * shsize) for i in range(shnum)]
for s in sections:
    if s[1] not in (2, 11):     # SHT_SYMTAB, SHT_DYNSYM
        continue
    strings = sections[s[6]]
    for at in range(s[4], s[4] + s[5], 24):
        name, info, other, shndx, va, size = struct.unpack_from("<IBBHQQ", data, at)
        begin = strings[4] + name
        if not shndx or not va or data[begin:data.index(b"\0", begin)] != want:
            continue
        for p in segments:
            if p[0] == 1 and p[3] <= va < p[3] + p[5]:
                print("%#x" % (va - p[3] + p[2]))
                sys.exit(0)
sys.exit("no function %s in %s" % (sys.argv[2], sys.argv[1]))
