#!/usr/bin/env python3
"""Speaks to a WebSocket that says back what it hears, and says what it saw as one line of JSON.

usage: websocket_client.py URL [--silence SECONDS]     ws:// or http:// of a function; wss:// and https:// take any certificate

It sends texts, bytes, messages in pieces with a PING between them, messages of a mebibyte in both directions at once,
keeps silent for a while, and closes. It ends with 1 and a reason when something is not as RFC 6455 says.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import random
import select
import socket
import ssl
import struct
import sys
import time
import traceback
import urllib.parse

# Bytes moved at once; mebibytes on their way; seconds in which something must happen.
PIECE, AHEAD, SILENCE_MAX = 1 << 16, 4, 30
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def masked(data, mask):
    count = len(data)
    whole = (mask * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")).to_bytes(count, "little")


class WebSocket:
    """One connection, without threads: of a TLS connection only one may read or write at a time."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        port = parts.port or (443 if secure else 80)
        self.socket = socket.create_connection((parts.hostname, port), timeout=SILENCE_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            context = ssl._create_unverified_context()
            self.socket = context.wrap_socket(self.socket)
        self.socket.setblocking(False)
        self.outgoing, self.incoming, self.ended = bytearray(), bytearray(), False
        key = base64.b64encode(os.urandom(16)).decode()
        # A frame right behind the head: what a client sends before it saw the 101 must not be lost.
        head = (
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.write(head.encode() + self.frame(TEXT, b"early"))
        status = self.line()
        fields = {}
        while (line := self.line()) != "":
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        wanted = base64.b64encode(
            hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        assert " 101 " in status, status
        assert fields.get("sec-websocket-accept") == wanted, fields
        assert fields.get("upgrade", "").lower() == "websocket", fields
        assert "upgrade" in fields.get("connection", "").lower(), fields

    def move(self):
        """Sends and receives what can be now; waits for either when neither can."""
        moved = False
        if self.outgoing:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                del self.outgoing[: self.socket.send(self.outgoing[:PIECE])]
                moved = True
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            data = self.socket.recv(PIECE)
            self.incoming += data
            self.ended = data == b""
            moved = True
        if moved:
            return
        ready = select.select([self.socket], [self.socket] if self.outgoing else [], [], SILENCE_MAX)
        if not (ready[0] or ready[1]):
            raise TimeoutError(f"nothing happened for {SILENCE_MAX} s")

    def write(self, data):
        self.outgoing += data
        while self.outgoing:
            self.move()

    def read(self, count):
        """So many bytes, or fewer when the connection ends before."""
        while len(self.incoming) < count and not self.ended:
            self.move()
        data = bytes(self.incoming[:count])
        del self.incoming[:count]
        return data

    def line(self):
        while (end := self.incoming.find(b"\n")) < 0 and not self.ended:
            self.move()
        return self.read(end + 1 if end >= 0 else len(self.incoming)).decode("latin-1").strip()

    @staticmethod
    def frame(kind, data, final=True):
        mask = os.urandom(4)
        head = bytes([(0x80 if final else 0) | kind])
        count = len(data)
        if count < 126:
            head += bytes([0x80 | count])
        elif count < 65536:
            head += struct.pack(">BH", 0x80 | 126, count)
        else:
            head += struct.pack(">BQ", 0x80 | 127, count)
        return head + mask + masked(data, mask)

    def send(self, kind, data, final=True):
        self.write(self.frame(kind, data, final))

    def next(self):
        head = self.read(2)
        if len(head) < 2:
            raise EOFError("the connection ended")
        assert not head[1] & 0x80, "a server does not mask"
        count = head[1] & 0x7F
        if count == 126:
            (count,) = struct.unpack(">H", self.read(2))
        elif count == 127:
            (count,) = struct.unpack(">Q", self.read(8))
        data = self.read(count)
        assert len(data) == count, "cut"
        return head[0] & 15, data

    def expect(self, kind, data):
        got = self.next()
        assert got == (kind, data), (kind, data[:80], got[0], got[1][:80])


def play(url, silence):
    chance = random.Random(20261121)
    web = WebSocket(url)
    web.expect(TEXT, b"early")
    for size in (0, 1, 125, 126, 127, 65535, 65536, 70000):
        text = ("é" * size)[: size // 2].encode()
        web.send(TEXT, text)
        web.expect(TEXT, text)
        data = chance.randbytes(size)
        web.send(BINARY, data)
        web.expect(BINARY, data)
    # A message in pieces, the same bytes as one frame back; a PING in the middle is answered in the middle.
    web.send(TEXT, b"one, ", final=False)
    web.send(CONTINUATION, b"two, ", final=False)
    web.send(PING, b"still there?")
    web.expect(PONG, b"still there?")
    web.send(CONTINUATION, b"three")
    web.expect(TEXT, b"one, two, three")
    # Byte by byte.
    for byte in web.frame(TEXT, b"slowly"):
        web.write(bytes([byte]))
    web.expect(TEXT, b"slowly")
    both = both_ways(web, chance, 64)
    if silence:
        time.sleep(silence)
        web.send(TEXT, b"after a silence")
        web.expect(TEXT, b"after a silence")
    web.send(CLOSE, struct.pack(">H", 1000))
    web.expect(CLOSE, struct.pack(">H", 1000))
    assert web.read(1) == b"", "nothing follows a close"
    # What breaks the protocol is told by a close frame, and the connection ends.
    for bad, code in ((bytes([0x81, 1, 65]), 1002), (web.frame(TEXT, b"\xff"), 1007), (web.frame(3, b""), 1002)):
        other = WebSocket(url)
        other.expect(TEXT, b"early")
        other.write(bad)
        kind, data = other.next()
        assert (kind, struct.unpack(">H", data[:2])[0]) == (CLOSE, code), (kind, data)
        assert other.read(1) == b""
    return {"early": True, "bothWaysMiB": both, "silence": silence}


def both_ways(web, chance, count):
    """Messages of a mebibyte: the next ones are sent while the one before comes back."""
    messages = [chance.randbytes(1 << 20) for _ in range(AHEAD)]
    sent = 0
    for number in range(count):
        while sent < min(count, number + AHEAD):
            web.outgoing += web.frame(BINARY, messages[sent % AHEAD])
            sent += 1
        web.expect(BINARY, messages[number % AHEAD])
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--silence", type=float, default=0)
    given = parser.parse_args()
    try:
        print(json.dumps(play(given.url, given.silence)))
    except (AssertionError, EOFError, OSError) as error:
        line = traceback.extract_tb(error.__traceback__)[1].lineno
        sys.exit(f"{type(error).__name__}: {error} (line {line} of play)")


main()
