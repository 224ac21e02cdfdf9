"""The strict HTTP/1.1 of the Python runner: a request's head, its body, an answer's head. No sockets, no clock."""

HEAD_BYTES = 64 * 1024
HEADER_COUNT = 256
CHUNK_LINE_BYTES = 256
TRAILER_BYTES = 8 * 1024
CHUNKED = -1  # Request.length of a body in chunks
KNOWN_LINES = 256  # lines of heads that are remembered parsed: a caller repeats most of them in each request
KNOWN_LINE_BYTES = 256
UNIQUE = frozenset(("x-call-id", "traceparent", "x-apus-deadline"))  # never the same twice
KNOWN_ANSWERS = 64  # beginnings of answers that are remembered

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


_lines = {}  # a clean line → its name and value, or of a request line: method, path, query and minor version
_names = {}  # a field's name as it was sent → in lower case
_answers = {}  # status and pairs → the beginning of an answer's head


def remember(known, key, value):
    """Keeps what a short line was parsed to; all are forgotten when there are too many."""
    if len(key) <= KNOWN_LINE_BYTES:
        if len(known) >= KNOWN_LINES:
            known.clear()
        known[key] = value


def parse_request_line(line):
    parts = line.split(b" ")
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
    clean(line)
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise BadRequest("the target does not start with /")
    if b"\t" in target or b"#" in target:
        raise BadRequest("the target holds a character that must be encoded")
    path, _, query = target.partition(b"?")
    parsed = (
        method.decode("ascii"), path.decode("utf-8", "surrogateescape"), query.decode("utf-8", "surrogateescape"), minor
    )
    remember(_lines, line, parsed)
    return parsed


def lower_name(name):
    """A field's name in lower case, as text; BadRequest when it is none."""
    lower = _names.get(name)
    if lower is None:
        if not name or name.translate(None, TOKEN):
            raise BadRequest("a header line is not NAME: VALUE")
        lower = name.decode("ascii").lower()
        remember(_names, name, lower)
    return lower


def parse_header_line(line):
    """Name and value of a header line, whose value may still hold control characters if it is never the same twice."""
    name, colon, value = line.partition(b":")
    if not colon:
        raise BadRequest("a header line is not NAME: VALUE")
    lower = lower_name(name)
    pair = lower, text_of(value.strip(b" \t"))
    if lower not in UNIQUE:
        clean(line)
        remember(_lines, line, pair)
    return pair


def clean(line):
    if line.translate(None, PRINTABLE):
        raise BadRequest("a control character in the head")


def parse_head(head):
    """The Request of a head; BadRequest when it is not strictly one."""
    first, *lines = head.split(b"\r\n")
    if len(lines) > HEADER_COUNT:
        raise BadRequest(f"more than {HEADER_COUNT} header fields", 431, "head_too_large")
    request = Request()
    line = _lines.get(first)
    # A request line is remembered as four parts, a header line as two: neither is taken for the other.
    if line is None or len(line) != 4:
        line = parse_request_line(first)
    request.method, request.path, request.query, request.minor = line
    request.headers = headers = {}
    unique = b""
    for text in lines:
        pair = _lines.get(text)
        if pair is None or len(pair) != 2:
            pair = parse_header_line(text)
            if pair[0] in UNIQUE:
                unique += text
        name, value = pair
        if name in headers:
            repeat(headers, name, value)
        else:
            headers[name] = value
    clean(unique)
    frame(request)
    return request


def repeat(headers, name, value):
    """A field that stands twice."""
    known = headers[name]
    if name == "host" or name == "transfer-encoding":
        raise BadRequest(f"{name} stands twice")
    if name == "content-length":
        if known != value:
            raise BadRequest("two different Content-Lengths")
    else:
        headers[name] = known + ("; " if name == "cookie" else ", ") + value


def frame(request):
    """Decides how long the body is and whether the connection goes on."""
    headers, minor = request.headers, request.minor
    request.length = 0
    if "transfer-encoding" in headers:
        if "content-length" in headers:
            raise BadRequest("both Transfer-Encoding and Content-Length")
        if minor == 0:
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        if headers["transfer-encoding"].lower() != "chunked":
            raise BadRequest("a transfer coding other than chunked", 501)
        request.length = CHUNKED
    elif "content-length" in headers:
        length = headers["content-length"]
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise BadRequest("Content-Length is not a number")
        request.length = int(length)
    if minor == 1 and "host" not in headers:
        raise BadRequest("Host is missing")
    if "connection" not in headers:
        request.keep_alive = minor == 1
    elif minor == 1:
        request.keep_alive = "close" not in headers["connection"].lower()
    else:
        request.keep_alive = "keep-alive" in headers["connection"].lower()
    request.expects = False
    if "expect" in headers:
        if headers["expect"].lower() != "100-continue":
            raise BadRequest("an expectation other than 100-continue", 417)
        request.expects = minor == 1 and request.length != 0


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
    beginning = answer_beginning(status, pairs)
    if keep_alive and minor == 1:
        if length is None:
            return beginning + b"\r\n"
        if length != CHUNKED:
            return b"%bContent-Length: %d\r\n\r\n" % (beginning, length)
    framing = b""
    if length == CHUNKED:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif length is not None:
        framing = b"Content-Length: %d\r\n" % length
    if not keep_alive:
        framing += b"Connection: close\r\n"
    elif minor == 0:
        framing += b"Connection: keep-alive\r\n"
    return beginning + framing + b"\r\n"


def answer_beginning(status, pairs):
    """The status line and the handler's own fields; remembered when there is at most one of them."""
    key = (status, *pairs) if len(pairs) < 2 else None
    known = _answers.get(key)
    if known is None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{name}: {value}" for name, value in pairs), ""]
        known = "\r\n".join(lines).encode("utf-8", "replace")
        if key is not None and len(known) <= KNOWN_LINE_BYTES:
            if len(_answers) >= KNOWN_ANSWERS:
                _answers.clear()
            _answers[key] = known
    return known
