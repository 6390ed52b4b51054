# SPDX-License-Identifier: GPL-2.0-only
"""Drives a redis-server for record.sh: load.py PORT KIND. A steady pace, until it is ended."""
import random
import socket
import sys
import time

port, kind = int(sys.argv[1]), sys.argv[2]
random.seed(1)
server = socket.create_connection(("127.0.0.1", port))
replies = server.makefile("rb")
start = time.monotonic()


def ask(*words):
    data = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        data += b"$%d\r\n%s\r\n" % (len(word), word)
    server.sendall(data)
    line = replies.readline()
    assert not line.startswith(b"-"), line
    if line.startswith(b"$") and line != b"$-1\r\n":
        replies.read(int(line[1:]) + 2)


def elapsed():
    return time.monotonic() - start


def value(size):
    return bytes(random.randrange(size // 2, size))


def fill(n):        # keys that nobody deletes
    ask("SET", "key:%d" % n, value(1000))


def flush(n):       # fills for 8 s, all is deleted, and then it is read only
    if elapsed() < 8:
        fill(n)
    elif not flush.done:
        flush.done = True
        ask("FLUSHALL", "SYNC")
    else:
        ask("GET", "key:%d" % n)


flush.done = False


def lru(n):         # maxmemory is reached in some seconds
    ask("SET", "key:%d" % random.randrange(1 << 20), value(20000))


def ttl(n):         # keys that live for 6 s
    ask("SET", "key:%d" % n, value(1000), "EX", 6)


def refill(n):      # sheds all every 7 s and fills again
    if elapsed() - refill.last > 7:
        refill.last = elapsed()
        ask("FLUSHALL", "SYNC")
    fill(n)


refill.last = 0


def load(n):        # a data set of 6 s, read from then on
    if elapsed() < 6:
        fill(n)
    else:
        ask("GET", "key:%d" % random.randrange(1 << 10))


n = 0
while True:
    globals()[kind](n)
    n += 1
    time.sleep(max(0, n / 300 - elapsed()))
