#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""same_rows.py ROWS READELF CNT

Compares unwind rows (as tests/unwind/rows prints them) with those of `readelf --debug-dump=frames-interp`, at CNT random
addresses, each in a random row of readelf's or at its end. Prints what differs, then "compared CNT, KINDS"."""
import bisect
import random
import re
import sys


def read_rows(path):
    rows = []
    for line in open(path):
        va, rest = line.rstrip("\n").split(" ", 1)
        rows.append((int(va, 16), rest))
    return rows


def expected(row, signal):
    """The kinds and rbp's places that are right for a row of readelf's: (regex)."""
    if signal:
        return "signal"
    if row["ra"] == "u":
        return "end"
    cfa, bp = row["CFA"], row.get("rbp", "u")
    if row["ra"] != "c-8" or row.get("rsp", "u") != "u":
        return "bad"
    if cfa == "exp":
        return r"deref|plt \d+|bad"
    reg, off = re.fullmatch(r"(\w+)([+-]\d+)", cfa).groups()
    if reg not in ("rsp", "rbp"):
        return "bad"
    if bp in ("u", "s"):
        place = "same|lost" if bp == "u" else "same"
    elif re.fullmatch(r"c[+-]\d+", bp):
        place = str(int(bp[1:]))
    elif bp == "exp":
        place = r"\*bp|lost"
    else:
        place = "lost"
    return r"%s %d (%s)" % (reg[1:], int(off), place)


def fde_spans(fde, cie):
    """Of one FDE: (start, end, regex). Where it has no instructions readelf prints its CIE's row only."""
    rows = fde["rows"] or [dict(cie["row"], LOC=fde["start"])]
    # readelf forgets what the CIE says of a register that the FDE speaks of, until it does
    if any(row["ra"] not in ("u", "c-8") for row in rows):
        rows = [dict(row, ra="c-8") if row["ra"] == "u" else row for row in rows]
    for i, row in enumerate(rows):
        end = rows[i + 1]["LOC"] if i + 1 < len(rows) else fde["end"]
        if row["LOC"] < min(end, fde["end"]):
            yield row["LOC"], min(end, fde["end"]), expected(row, cie["signal"])


def read_readelf(path):
    cies, spans, columns, entry, fde = {}, [], None, None, None

    for line in open(path, errors="replace"):
        line = re.sub(r" \(\w+\)", "", line.strip())    # r10 (r10)
        if line.startswith("Contents of the .debug_frame"):
            break
        match = re.match(r'(\w+) \w+ \w+ (?:CIE "(\w*)"|FDE cie=(\w+) pc=(\w+)\.\.(\w+))', line)
        if match:
            if fde:
                spans += fde_spans(fde, cies[fde["cie"]])
            columns, fde = None, None
            if match[3] is None:
                entry = cies[int(match[1], 16)] = {"signal": "S" in match[2], "row": {}}
            else:
                entry = fde = {"cie": int(match[3], 16), "start": int(match[4], 16), "end": int(match[5], 16), "rows": []}
        elif line.startswith("LOC"):
            columns = line.split()
        elif columns and re.match(r"[0-9a-f]{16} ", line):
            row = dict(zip(columns, line.split()))
            row["LOC"] = int(row["LOC"], 16)
            if not fde:
                entry["row"] = row
                continue
            if fde["rows"] and fde["rows"][-1]["LOC"] == row["LOC"]:
                fde["rows"].pop()
            fde["rows"].append(row)
    if fde:
        spans += fde_spans(fde, cies[fde["cie"]])
    return spans


def main():
    rows, spans, cnt = read_rows(sys.argv[1]), read_readelf(sys.argv[2]), int(sys.argv[3])
    starts = [va for va, _ in rows]
    covered = sorted((start, end) for start, end, _ in spans)
    covered_starts = [start for start, _ in covered]
    rand, wrong, kinds = random.Random(6), 0, {}
    for _ in range(cnt):
        start, end, want = rand.choice(spans)
        pc = rand.randrange(start, end)
        if rand.random() < 0.05:
            at = bisect.bisect_right(covered_starts, end) - 1
            if covered[at][1] <= end:    # nothing begins there
                pc, want = end, "gap|end"
        at = bisect.bisect_right(starts, pc) - 1
        got = rows[at][1] if at >= 0 else "gap"
        kind = got.split()[0]
        kinds[kind] = kinds.get(kind, 0) + 1
        if not re.fullmatch(want, got):
            wrong += 1
            if wrong <= 10:
                print("%x: %s, readelf says %s" % (pc, got, want))
    print("compared %d, wrong %d: %s" % (cnt, wrong, " ".join("%s %d" % k for k in sorted(kinds.items()))))
    return 1 if wrong or not rows or len(spans) < 10 else 0


sys.exit(main())
