# SPDX-License-Identifier: GPL-2.0-only
"""Small services in python for record.sh: kinds.py KIND; begins at a line of input, and goes on until it is ended."""
import functools
import json
import math
import random
import sys
import time

kind = sys.argv[1]
random.seed(1)
kept = []
table = {}


def leak(n):        # a list that nobody empties
    kept.append(bytes(random.randrange(500, 1500)))


def rare(n):        # the same once in 4 s, and requests beside it
    if n % 800 == 0:
        kept.append(bytes(5000))
    json.loads(json.dumps({"n": n, "text": "x" * 100}))


def partly(n):      # one in ten is taken away again
    kept.append(bytes(random.randrange(500, 1500)))
    if n % 10 == 0:
        kept.pop(random.randrange(len(kept)))


@functools.lru_cache(maxsize=1500)
def page(n):
    return bytes(1000 + n % 50)


def lru(n):
    page(random.randrange(100000))


@functools.lru_cache(maxsize=None)
def word(n):
    return bytes(1000 + n % 50)


def words(n):       # few words are common, most are rare: every one is kept, and new ones come ever more slowly
    word(int(random.paretovariate(0.7)))


def memo(n):        # of 600 words, all are known soon
    word(random.randrange(600))


def index(n):       # built in 5 s, read from then on
    if n < 1000:
        table[n] = bytes(random.randrange(500, 1500))
    else:
        json.dumps(len(table[n % 1000]))


def requests(n):    # what one holds goes with it; more of them at a time, then fewer
    open_now = 20 * (1 + math.sin(n / 1500)) + 1
    kept.append(json.loads(json.dumps([{"n": n, "text": "x" * 500}])))
    while len(kept) > open_now:
        kept.pop(0)


def window(n):      # the last 5 s
    kept.append(bytes(1000))
    if len(kept) > 1000:
        kept.pop(0)


def batches(n):     # collected for 9 s, then written and forgotten at once
    kept.append(bytes(1000))
    if n % 1800 == 1799:
        kept.clear()


print("ready", flush=True)
sys.stdin.readline()
start = time.monotonic()
n = 0
while True:
    globals()[kind](n)
    n += 1
    time.sleep(max(0, n / 200 - (time.monotonic() - start)))
