#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""client.py HOW URL REQUESTS: an HTTP client, one request after the other.

    urllib  urllib.request.urlopen(): says `Connection: close`
    fresh   a new connection a request, closed after the reply: what requests.get() without a Session does
    shared  one connection, opened anew when there is none

Prints `ready`, starts at a line on standard input, prints one line `error WHAT` for each kind of error, `first FROM
UNTIL` when requests failed for lack of ports (seconds of the epoch: when the first of them began and had failed) and
`done OK EXHAUSTED OTHER`, and ends at the next line. EXHAUSTED are the requests that failed with EADDRNOTAVAIL. A reply
that is not 200 (a proxy that cannot connect) is counted by OTHER.
"""
import errno
import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

how, url, requests = sys.argv[1], sys.argv[2], int(sys.argv[3])
where = urllib.parse.urlsplit(url)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))   # no proxy from the environment
kept = None


def by_urllib():
    with opener.open(url, timeout=10) as reply:
        reply.read()


def by_connection(connection):
    connection.request("GET", where.path or "/")
    reply = connection.getresponse()
    reply.read()
    if reply.status != 200:
        raise RuntimeError("status %d" % reply.status)


def fresh():
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    try:
        by_connection(connection)
    finally:
        connection.close()


def shared():
    global kept
    if kept is None:
        kept = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    try:
        by_connection(kept)
    except (OSError, http.client.HTTPException):
        kept.close()
        raise


def main():
    run = {"urllib": by_urllib, "fresh": fresh, "shared": shared}[how]
    ok = exhausted = other = 0
    kinds = set()
    first = None
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(requests):
        began = time.time()
        try:
            run()
            ok += 1
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            if getattr(cause, "errno", None) == errno.EADDRNOTAVAIL:
                exhausted += 1
                first = first or (began, time.time())
            else:
                other += 1
            kinds.add(repr(error))
    for kind in sorted(kinds):
        print("error", kind)
    if first:
        print("first %.3f %.3f" % first)
    print("done", ok, exhausted, other, flush=True)
    sys.stdin.readline()


main()
