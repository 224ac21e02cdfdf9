"""A WebSocket (RFC 6455) that says back what it hears, with Python's standard library only: a thread a connection.

Whoever asks without an Upgrade is told how: 426.
"""

import base64
import hashlib
import os
import signal
import socket
import socketserver
import struct
import sys

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEAD_BYTES = 64 * 1024
MESSAGE_BYTES = 16 * 1024 * 1024
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Wrong(Exception):
    """What the peer did against the protocol: the code and the reason of the close frame."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


def unmask(data, mask):
    """The same bytes without their mask, or with it: one long number at a time instead of byte by byte."""
    count = len(data)
    whole = (mask * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")).to_bytes(count, "little")


def frame(kind, data, final=True):
    """A frame of a server: no mask."""
    count = len(data)
    head = bytes([(0x80 if final else 0) | kind])
    if count < 126:
        head += bytes([count])
    elif count < 65536:
        head += struct.pack(">BH", 126, count)
    else:
        head += struct.pack(">BQ", 127, count)
    return head + data


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while (head := self.head()) is not None:
            fields, close = head
            if fields.get("upgrade", "").lower() == "websocket" and "sec-websocket-key" in fields:
                return self.speak(fields["sec-websocket-key"])
            self.rfile.read(int(fields.get("content-length", "0")))
            text = b"this is a WebSocket: ask with Upgrade: websocket\n"
            self.answer("426 Upgrade Required", {"Content-Type": "text/plain; charset=utf-8"}, text)
            if close:
                return

    def head(self):
        """(fields by lower-case name, whether the connection ends) of the next request; None when there is none."""
        lines = []
        left = HEAD_BYTES
        while (line := self.rfile.readline(left)) not in (b"\r\n", b""):
            left -= len(line)
            lines.append(line.decode("latin-1"))
            if left <= 0:
                return None
        if not lines:
            return None
        pairs = (line.partition(":") for line in lines[1:])
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return fields, "close" in fields.get("connection", "").lower()

    def answer(self, status, fields, body=b""):
        fields = dict(fields, **({"Content-Length": str(len(body))} if body else {}))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.wfile.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)

    def speak(self, key):
        accept = base64.b64encode(hashlib.sha1(key.encode() + ACCEPT).digest()).decode()
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        self.answer("101 Switching Protocols", fields)
        try:
            self.echo()
        except Wrong as wrong:
            self.wfile.write(frame(CLOSE, struct.pack(">H", wrong.code) + str(wrong).encode()))
        except EOFError:
            pass

    def echo(self):
        """Each message goes back as one frame of its kind, whatever the pieces it came in."""
        kind, parts, total = None, [], 0
        while True:
            final, got, data = self.next()
            if got == PING:
                self.wfile.write(frame(PONG, data))
            elif got == CLOSE:
                if data and (len(data) == 1 or not 1000 <= struct.unpack(">H", data[:2])[0] <= 4999):
                    raise Wrong(1002, "no such code")
                self.wfile.write(frame(CLOSE, data[:2]))
                return
            elif got in (TEXT, BINARY, CONTINUATION):
                if (got == CONTINUATION) == (kind is None):
                    raise Wrong(1002, "a continuation of nothing, or none of what was begun")
                kind = kind if got == CONTINUATION else got
                total += len(data)
                if total > MESSAGE_BYTES:
                    raise Wrong(1009, "too large")
                parts.append(data)
                if final:
                    message = b"".join(parts)
                    if kind == TEXT:
                        check_text(message)
                    self.wfile.write(frame(kind, message))
                    kind, parts, total = None, [], 0
            elif got != PONG:
                raise Wrong(1002, "an unknown kind of frame")

    def next(self):
        """(whether it is the last of its message, kind, data) of the next frame."""
        first, second = self.exactly(2)
        if first & 0x70:
            raise Wrong(1002, "no extension was agreed on")
        count = second & 0x7F
        if first & 8 and (count > 125 or not first & 0x80):
            raise Wrong(1002, "a control frame that is long or in pieces")
        if count == 126:
            (count,) = struct.unpack(">H", self.exactly(2))
        elif count == 127:
            (count,) = struct.unpack(">Q", self.exactly(8))
        if not second & 0x80:
            raise Wrong(1002, "a client masks what it sends")
        if count > MESSAGE_BYTES:
            raise Wrong(1009, "too large")
        mask = self.exactly(4)
        return bool(first & 0x80), first & 15, unmask(self.exactly(count), mask)

    def exactly(self, count):
        data = self.rfile.read(count)
        if len(data) < count:
            raise EOFError
        return data


def check_text(message):
    try:
        message.decode()
    except UnicodeDecodeError:
        raise Wrong(1007, "text that is no UTF-8") from None


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # A peer that vanished is no fault of ours.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Connection) as server:
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.serve_forever(poll_interval=3600)


if __name__ == "__main__":
    main()
