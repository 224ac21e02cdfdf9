#!/usr/bin/env python3
"""Drives the streams of stream_server.py through a gateway, and says what it saw as one line of JSON.

usage: stream_client.py events   URL --count N --pause S
       stream_client.py upload   URL --bytes N [--chunked] [--pause S --every N] [--pid PID]
       stream_client.py download URL --bytes N [--chunked] [--pause S --every N] [--pid PID]

Every byte is checked: of an upload by the hash that the function answers, of a download by where it stands. With a
process id the resident memory of that process is looked at all the while: "rssMiB" is [before, most]. `--pause` makes
the function a slow reader (upload), or the client one (download).
"""

import argparse
import hashlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time
import urllib.parse

BLOCK = 1 << 16
FILL = bytes((7 * index + index // 251) % 256 for index in range(BLOCK - 8))


def block(number):
    return number.to_bytes(8, "big") + FILL


def connect(url, receive_buffer=None):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        made = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=120, context=ssl._create_unverified_context())
    else:
        made = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    made.connect()
    made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    return made, parts.path


class Memory:
    """The resident memory of a process, looked at every 20 ms."""

    def __init__(self, pid):
        self.pid, self.most, self.stopped = pid, 0, threading.Event()
        self.before = self.look() if pid else 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        if pid:
            self.thread.start()

    def look(self):
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0

    def run(self):
        while not self.stopped.wait(0.02):
            self.most = max(self.most, self.look())

    def result(self):
        self.stopped.set()
        return [round(self.before, 1), round(max(self.most, self.before), 1)] if self.pid else None


def events(given):
    connection, path = connect(given.url)
    connection.request("GET", f"{path}/events?count={given.count}&pause={given.pause}")
    answer = connection.getresponse()
    assert answer.status == 200, (answer.status, answer.read()[:300])
    assert answer.getheader("Content-Type") == "text/event-stream", answer.getheaders()
    late, number, lines = [], 0, []
    while line := answer.fp.readline():
        # The framing is read here, so that each event is seen when its bytes come.
        lines.append(line)
        if line.startswith(b"id: "):
            assert int(line[4:]) == number, f"event {line!r} stands where {number} should"
            number += 1
        elif line.startswith(b"data: "):
            late.append(time.time() - float(line[6:]))
        elif line == b"0\r\n":
            break
    assert number == given.count == len(late), f"{number} of {given.count} events came"
    late.sort()
    return {
        "events": number, "lateMostMs": round(late[-1] * 1000, 1), "lateMedianMs": round(late[len(late) // 2] * 1000, 1),
    }


def upload(given):
    warm(given)
    memory = Memory(given.pid)
    connection, path = connect(given.url)
    framing = {"Transfer-Encoding": "chunked"} if given.chunked else {"Content-Length": str(given.bytes)}
    connection.putrequest("POST", f"{path}/sink?pause={given.pause}&every={given.every}")
    for name, value in framing.items():
        connection.putheader(name, value)
    connection.endheaders()
    begin, digest, left, number = time.time(), hashlib.sha256(), given.bytes, 0
    while left > 0:
        data = block(number)[: min(left, BLOCK)]
        digest.update(data)
        connection.sock.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n" if given.chunked else data)
        left -= len(data)
        number += 1
    if given.chunked:
        connection.sock.sendall(b"0\r\n\r\n")
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (answer.status, text[:300])
    assert json.loads(text) == {"bytes": given.bytes, "sha256": digest.hexdigest()}, text
    return transferred(given, begin, memory)


def download(given):
    warm(given)
    memory = Memory(given.pid)
    connection, path = connect(given.url, 1 << 16 if given.pause else None)
    connection.request("GET", f"{path}/source?bytes={given.bytes}" + ("&chunked=1" if given.chunked else ""))
    answer = connection.getresponse()
    assert answer.status == 200, (answer.status, answer.read()[:300])
    begin, left, number, due = time.time(), given.bytes, 0, given.every
    while left > 0:
        want = min(left, BLOCK)
        data = answer.read(want)
        assert data == block(number)[:want], f"the bytes differ in block {number}, or the answer was cut: {len(data)}"
        left -= want
        number += 1
        while given.bytes - left >= due:
            time.sleep(given.pause)
            due += given.every
    assert answer.read(1) == b"", "more came than was promised"
    return transferred(given, begin, memory)


def warm(given):
    """A few calls, so that what a process keeps once and for all is there before its memory is looked at."""
    for _ in range(20):
        connection, path = connect(given.url)
        connection.request("GET", f"{path}/source?bytes={4 << 20}")
        assert len(connection.getresponse().read()) == 4 << 20
        connection.request("POST", f"{path}/sink", bytes(4 << 20))
        assert connection.getresponse().read()
        connection.close()


def transferred(given, begin, memory):
    took = time.time() - begin
    return {
        "bytes": given.bytes, "seconds": round(took, 2), "MiBps": round(given.bytes / took / (1 << 20)),
        "rssMiB": memory.result(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["events", "upload", "download"])
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=1 << 20)
    parser.add_argument("--chunked", action="store_true")
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--every", type=int, default=1 << 62)
    parser.add_argument("--pid", type=int)
    given = parser.parse_args()
    try:
        print(json.dumps({"events": events, "upload": upload, "download": download}[given.what](given)))
    except (AssertionError, OSError, http.client.HTTPException) as error:
        sys.exit(f"{type(error).__name__}: {error}")


main()
