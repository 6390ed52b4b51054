#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""backend.py PORT…: an HTTP server with keep-alive on all addresses. Prints `ready`.

It never closes first, with one exception, which is what HTTP wants: a request that says `Connection: close` (or 1.0
without keep-alive) gets the FIN in the same segment as the reply, so that who closes first does not depend on the
scheduler. Below /late it leaves even that to the client, as a server does that is slow to close.
"""
import selectors
import socket
import sys

BODY = b"hello\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n"
selector = selectors.DefaultSelector()


def listen(port):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(1024)
    selector.register(listener, selectors.EVENT_READ)


def wants_close(request):
    lines = request.decode("latin-1").lower().split("\r\n")
    connection = [line.split(":", 1)[1].strip() for line in lines[1:] if line.startswith("connection:")]
    return "close" in connection or (lines[0].endswith("http/1.0") and "keep-alive" not in connection)


def drop(client):
    selector.unregister(client)
    client.close()


def serve(client, pending):
    try:
        data = client.recv(65536)
        if not data:
            return drop(client)
        pending += data
        while b"\r\n\r\n" in pending:
            request, _, rest = bytes(pending).partition(b"\r\n\r\n")
            pending[:] = rest
            close = wants_close(request)
            reply = HEAD % (len(BODY), b"close" if close else b"keep-alive") + BODY
            if close and b" /late" not in request:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                client.sendall(reply)
                client.shutdown(socket.SHUT_WR)
            else:
                client.sendall(reply)
    except OSError:
        drop(client)


for argument in sys.argv[1:]:
    listen(int(argument))
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.data is None:
            accepted, _ = key.fileobj.accept()
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(accepted, selectors.EVENT_READ, bytearray())
        else:
            serve(key.fileobj, key.data)
