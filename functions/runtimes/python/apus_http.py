"""The strict HTTP/1.1 of the Python runner: a request's head, its body, an answer's head. No sockets, no clock."""

HEAD_BYTES = 64 * 1024
HEADER_COUNT = 256
CHUNK_LINE_BYTES = 256
TRAILER_BYTES = 8 * 1024
CHUNKED = -1  # Request.length of a body in chunks

REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently",
    302: "Found", 303: "See Other", 304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 410: "Gone", 413: "Content Too Large", 415: "Unsupported Media Type",
    417: "Expectation Failed", 418: "I'm a teapot", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}
TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PRINTABLE = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t"
LINES = PRINTABLE + b"\r\n"
HEX = b"0123456789abcdefABCDEF"


class BadRequest(Exception):
    """A request that is refused: status, code and message of its answer; the connection is closed after it."""

    def __init__(self, message, status=400, code="bad_request"):
        Exception.__init__(self, message)
        self.status = status
        self.code = code


class Request:
    """A parsed head. length: bytes of the body, or CHUNKED. headers: lower-case name → value."""

    __slots__ = ("method", "path", "query", "minor", "headers", "length", "keep_alive", "expects")


def split_head(buffer):
    """(head without its empty line, length with it) once the whole head is there, else None.
    A stray CR or LF is refused at once: waiting for an end that cannot come would hang."""
    end = buffer.find(b"\r\n\r\n", 0, HEAD_BYTES + 4)
    if end >= 0:
        return bytes(buffer[:end]), end + 4
    if len(buffer) > HEAD_BYTES:
        raise BadRequest(f"the head is larger than {HEAD_BYTES} bytes", 431, "head_too_large")
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise BadRequest("a line ends without CR")
    if b"\0" in buffer:
        raise BadRequest("NUL in the head")
    return None


def text_of(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_head(head):
    """The Request of a head; BadRequest when it is not strictly one."""
    lines = head.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise BadRequest("the request line is not METHOD TARGET VERSION")
    method, target, version = parts
    if not method or len(method) > 32 or method.translate(None, TOKEN):
        raise BadRequest("the method is not a token")
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    else:
        raise BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)
    breaks = len(lines) - 1
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or head.translate(None, LINES):
        raise BadRequest("a control character in the head")
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise BadRequest("the target does not start with /")
    if b"\t" in target or b"#" in target:
        raise BadRequest("the target holds a character that must be encoded")
    if len(lines) > HEADER_COUNT + 1:
        raise BadRequest(f"more than {HEADER_COUNT} header fields", 431, "head_too_large")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, TOKEN):
            raise BadRequest("a header line is not NAME: VALUE")
        add_header(headers, name.decode("ascii").lower(), text_of(value.strip(b" \t")))
    request = Request()
    path, _, query = target.partition(b"?")
    request.method, request.minor, request.headers = method.decode("ascii"), minor, headers
    request.path, request.query = path.decode("utf-8", "surrogateescape"), query.decode("utf-8", "surrogateescape")
    frame(request)
    return request


def add_header(headers, name, value):
    known = headers.get(name)
    if known is None:
        headers[name] = value
    elif name == "host" or name == "transfer-encoding":
        raise BadRequest(f"{name} stands twice")
    elif name == "content-length":
        if known != value:
            raise BadRequest("two different Content-Lengths")
    else:
        headers[name] = known + ("; " if name == "cookie" else ", ") + value


def frame(request):
    """Decides how long the body is and whether the connection goes on."""
    headers = request.headers
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise BadRequest("both Transfer-Encoding and Content-Length")
        if request.minor == 0:
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        if coding.lower() != "chunked":
            raise BadRequest("a transfer coding other than chunked", 501)
        request.length = CHUNKED
    elif length is not None:
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise BadRequest("Content-Length is not a number")
        request.length = int(length)
    else:
        request.length = 0
    if request.minor == 1 and "host" not in headers:
        raise BadRequest("Host is missing")
    connection = headers.get("connection", "").lower()
    if request.minor == 1:
        request.keep_alive = "close" not in connection
    else:
        request.keep_alive = "keep-alive" in connection
    expect = headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise BadRequest("an expectation other than 100-continue", 417)
    request.expects = expect is not None and request.minor == 1 and request.length != 0


class Chunks:
    """Decodes a chunked body fed to it in any pieces. feed() takes from the front of a bytearray what it needs."""

    __slots__ = ("limit", "body", "left", "state", "trailers")

    def __init__(self, limit):
        self.limit = limit
        self.body = bytearray()
        self.left = 0
        self.state = "size"
        self.trailers = 0

    def feed(self, buffer):
        """True once the body is complete; what follows it stays in buffer."""
        while True:
            if self.state == "data":
                take = min(self.left, len(buffer))
                self.body += buffer[:take]
                del buffer[:take]
                self.left -= take
                if self.left:
                    return False
                self.state = "data end"
            if self.state == "data end":
                if len(buffer) < 2:
                    if buffer and buffer[:1] != b"\r":
                        raise BadRequest("a chunk does not end with CRLF")
                    return False
                if buffer[:2] != b"\r\n":
                    raise BadRequest("a chunk does not end with CRLF")
                del buffer[:2]
                self.state = "size"
            line = self._line(buffer)
            if line is None:
                return False
            if self.state == "size":
                self._size(line)
            elif not line:
                return True
            else:
                self._trailer(line)

    def _line(self, buffer):
        limit = CHUNK_LINE_BYTES if self.state == "size" else TRAILER_BYTES
        end = buffer.find(b"\n", 0, limit + 2)
        if end < 0:
            if len(buffer) > limit + 1:
                raise BadRequest("a line of the chunked body is too long")
            return None
        line = bytes(buffer[:end])
        if not line.endswith(b"\r") or line.count(b"\r") != 1:
            raise BadRequest("a line of the chunked body does not end with CRLF")
        del buffer[: end + 1]
        line = line[:-1]
        if line.translate(None, PRINTABLE):
            raise BadRequest("a control character in the chunked body's lines")
        return line

    def _size(self, line):
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 15 or digits.translate(None, HEX):
            raise BadRequest("a chunk's size is not a hexadecimal number")
        self.left = int(digits, 16)
        if len(self.body) + self.left > self.limit:
            raise BadRequest(f"the body is larger than {self.limit} bytes", 413, "body_too_large")
        self.state = "data" if self.left else "trailers"

    def _trailer(self, line):
        self.trailers += len(line)
        name, colon, _ = line.partition(b":")
        if not colon or not name or name.translate(None, TOKEN) or self.trailers > TRAILER_BYTES:
            raise BadRequest("a trailer line is not NAME: VALUE")


def answer_head(status, pairs, length, keep_alive, minor):
    """The head of an answer. length: bytes of the body, CHUNKED, or None for no framing header at all."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in pairs]
    if length == CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    elif length is not None:
        lines.append(f"Content-Length: {length}")
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")
