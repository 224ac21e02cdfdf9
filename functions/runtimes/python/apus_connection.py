"""One connection of a client: its socket, what was read of it and not used yet, and the request it waits with."""

import sys

import _socket
import select

import apus
from apus_http import CHUNKED, HEAD_BYTES, BadRequest, Chunks, answer_head, parse_head, split_head

READ_BYTES = 16 * 1024
STALL_SECONDS = 60  # a body that stops arriving, an answer nobody reads
DRAIN_BYTES = 1024 * 1024
STALL = STALL_SECONDS.to_bytes(8, sys.byteorder) + bytes(8)  # struct timeval
SO_RCVTIMEO, SO_SNDTIMEO, POLLRDHUP = 20, 21, 0x2000
HEAD_END = b"\r\n\r\n"


class Gone(Exception):
    """The client went away in the middle of its request or our answer."""


class Connection:
    __slots__ = ("fd", "socket", "buffer", "request", "running", "watched")

    def __init__(self, fd):
        self.fd = fd
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        if _socket.getdefaulttimeout() is not None:  # the function's own, for the connections that it makes
            self.socket.settimeout(None)
        self.socket.setsockopt(_socket.SOL_SOCKET, SO_RCVTIMEO, STALL)
        self.socket.setsockopt(_socket.SOL_SOCKET, SO_SNDTIMEO, STALL)
        self.buffer = bytearray()
        self.request = None
        self.running = False
        self.watched = False  # by the loop's epoll

    def gone(self):
        """True when the client closed or half closed the connection: the sign that it gave up."""
        poll = select.poll()
        poll.register(self.fd, POLLRDHUP)
        return bool(poll.poll(0))

    def advance(self):
        """True when a whole head is in the buffer; it is taken out of it."""
        if not self.buffer:
            return False
        found = split_head(self.buffer)
        if found is None:
            return False
        self.request = parse_head(found[0])
        del self.buffer[: found[1]]
        return True

    def take(self, data):
        """True when these bytes, the only ones there are, are exactly one head: the usual way of a request."""
        if not data.endswith(HEAD_END) or data.find(HEAD_END) != len(data) - 4 or len(data) > HEAD_BYTES:
            return False
        self.request = parse_head(data[:-4])
        return True

    def receive(self):
        """More bytes into the buffer, waiting for them."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            raise BadRequest("the body stopped arriving", 408, "request_timeout") from None
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        self.buffer += data

    def read_body(self, limit):
        request = self.request
        if request.length == 0:
            return b""
        if request.length > limit:
            raise BadRequest(f"the body is larger than {limit} bytes", 413, "body_too_large")
        if request.expects and (request.length == CHUNKED or len(self.buffer) < request.length):
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.length == CHUNKED:
            chunks = Chunks(limit)
            while not chunks.feed(self.buffer):
                self.receive()
            return bytes(chunks.body)
        if request.length > READ_BYTES:
            return self.read_large(request.length)
        while len(self.buffer) < request.length:
            self.receive()
        body = bytes(self.buffer[: request.length])
        del self.buffer[: request.length]
        return body

    def read_large(self, length):
        have = min(len(self.buffer), length)
        body = bytearray(length)
        body[:have] = self.buffer[:have]
        del self.buffer[:have]
        view = memoryview(body)
        while have < length:
            try:
                count = self.socket.recv_into(view[have:])
            except BlockingIOError:
                raise BadRequest("the body stopped arriving", 408, "request_timeout") from None
            except OSError:
                raise Gone from None
            if not count:
                raise Gone
            have += count
        view.release()
        return bytes(body)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            raise Gone from None

    def refuse(self, status, code, message):
        """The answer to a request that was not understood, as far as it can be sent."""
        body = apus.render_json({"code": code, "message": message, "component": "function"})
        try:
            self.send(answer_head(status, [("Content-Type", "application/json")], len(body), False, 1) + body)
            self.socket.shutdown(_socket.SHUT_WR)
            for _ in range(DRAIN_BYTES // READ_BYTES):  # closing with unread bytes would cut our answer off
                if not self.socket.recv(READ_BYTES, _socket.MSG_DONTWAIT):
                    break
        except (Gone, OSError):
            pass
