"""What a Python handler sees: Response to return, Event and Context as its two arguments.

    from apus import Response

    def handle(event, context):
        return Response({"seen": event.path}, status=201, headers={"X-Note": "kept"})
"""

import time

import _json
import apus_frames

__all__ = ["Response", "Event", "Context", "Headers"]

BODILESS = (204, 304)
# The runner frames the answer itself; these never come from a handler.
FRAMING = frozenset(
    ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
DEFAULT_TIMEOUT_MS = 30_000
TEXT = [("Content-Type", "text/plain; charset=utf-8")]


class Response:
    """An answer with a status and headers. body: str, bytes, dict, list, None or an iterator of str and bytes.
    headers: a dict, or a list of pairs when a name stands more than once."""

    __slots__ = ("body", "status", "headers")

    def __init__(self, body=None, status=200, headers=None):
        self.body = body
        self.status = status
        self.headers = headers


class Headers(dict):
    """Header fields by lower-case name; look-ups ignore case. Repeated fields are joined with a comma."""

    def __getitem__(self, name):
        return dict.__getitem__(self, name.lower())

    def __contains__(self, name):
        return dict.__contains__(self, name.lower())

    def get(self, name, default=None):
        return dict.get(self, name.lower(), default)


class Event:
    """One request. body: bytes; path and raw_query: as they were sent (path without /function/NAME)."""

    __slots__ = ("body", "method", "path", "raw_query", "headers", "_query")

    def __init__(self, body=b"", method="POST", path="/", raw_query="", headers=None):
        self.body = body
        self.method = method
        self.path = path
        self.raw_query = raw_query
        self.headers = Headers(headers or {})
        self._query = None

    @property
    def text(self):
        """The body as text: UTF-8, a byte that is none becomes U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self):
        """The body as JSON; ValueError if it is none."""
        return parse_json(self.body.decode("utf-8"))

    @property
    def query(self):
        """The query as a dict, decoded; of a repeated name the first value."""
        if self._query is None:
            found = {}
            for pair in self.raw_query.split("&"):
                if pair:
                    name, _, value = pair.partition("=")
                    found.setdefault(unquote(name), unquote(value))
            self._query = found
        return self._query


class Log:
    """Writes structured records under the call's id: log.info("paid", amount=12)."""

    __slots__ = ("_output",)

    def __init__(self, output):
        self._output = output

    def debug(self, msg, /, **fields):
        self._output.record("debug", msg, fields)

    def info(self, msg, /, **fields):
        self._output.record("info", msg, fields)

    def warn(self, msg, /, **fields):
        self._output.record("warn", msg, fields)

    def error(self, msg, /, **fields):
        self._output.record("error", msg, fields)

    warning = warn


class Context:
    """The call: call_id, deadline (epoch ms), function, revision, namespace, pod, log, cancelled."""

    __slots__ = (
        "call_id", "deadline", "function", "revision", "namespace", "pod", "traceparent", "log", "_connection"
    )

    def __init__(self, call_id, deadline, identity, traceparent, output, connection):
        self.call_id = call_id
        self.deadline = deadline if deadline is not None else int(time.time() * 1000) + DEFAULT_TIMEOUT_MS
        self.function, self.revision, self.namespace, self.pod = identity
        self.traceparent = traceparent
        self.log = Log(output)
        self._connection = connection

    def remaining_ms(self):
        """Milliseconds until the deadline, never below 0."""
        return max(0, self.deadline - int(time.time() * 1000))

    @property
    def cancelled(self):
        """True once the client has gone or the deadline has passed: stop, nobody waits for the answer."""
        return self._connection.gone() or self.remaining_ms() == 0


def unquote(text):
    """Decodes %XX and + of a query; a broken escape stays as it is."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    out = [first]
    for part in rest:
        digits = part[:2]
        if len(digits) == 2 and not digits.translate(None, b"0123456789abcdefABCDEF"):
            out.append(bytes((int(digits, 16),)) + part[2:])
        else:
            out.append(b"%" + part)
    return b"".join(out).decode("utf-8", "replace")


# The C parts of the json module, without the 8 ms that importing it costs a cold start.
class _ScannerSettings:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo = None

    @staticmethod
    def parse_constant(name):
        raise ValueError(f"{name} is not JSON")


_scan = _json.make_scanner(_ScannerSettings)
_WHITESPACE = " \t\n\r"


def parse_json(text):
    start = len(text) - len(text.lstrip(_WHITESPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"not JSON: a value was expected at character {stop.value}") from None
    if text[end:].strip(_WHITESPACE):
        raise ValueError(f"not JSON: more text after the value at character {end}")
    return value


def _refuse(value):
    raise TypeError(f"a value of type {type(value).__name__} cannot be made JSON")


def render_json(value):
    encoder = _json.make_encoder({}, _refuse, _json.encode_basestring, None, ": ", ", ", False, False, False)
    return "".join(encoder(value, 0)).encode("utf-8", "replace")


def render(result):
    """(status, list of header pairs, body) of what a handler returned; body is bytes or an iterator.
    TypeError or ValueError when it cannot be sent."""
    if type(result) is str:
        return 200, TEXT, result.encode("utf-8", "replace")
    if isinstance(result, Response):
        status, given, body = result.status, result.headers or {}, result.body
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"status {status!r}: a number from 200 to 599 is needed")
        status = int(status)  # a member of an Enum is written as its name
        pairs = [checked(*pair) for pair in (given.items() if hasattr(given, "items") else given)]
        pairs = [pair for pair in pairs if pair[0].lower() not in FRAMING]
    else:
        status, pairs, body = 200, [], result
    if isinstance(body, str):
        kind, body = "text/plain; charset=utf-8", body.encode("utf-8", "replace")
    elif isinstance(body, (bytes, bytearray, memoryview)):
        kind, body = "application/octet-stream", bytes(body)
    elif isinstance(body, (dict, list)):
        kind, body = "application/json", render_json(body)
    elif body is None:
        kind, body = None, b""
    elif hasattr(body, "__next__"):
        kind = "text/plain; charset=utf-8"
    else:
        raise TypeError(
            f"the handler returned {type(body).__name__}; return str, bytes, dict, list, None, Response or a generator"
        )
    if kind and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.insert(0, ("Content-Type", kind))
    return status, pairs, body


def checked(name, value):
    """A header pair that is safe to send; ValueError otherwise."""
    if not isinstance(name, str) or not name or not TOKEN.issuperset(name):
        raise ValueError(f"header name {name!r}: letters, digits and - only")
    name, value = str.__str__(name), str(value)  # a member of an Enum is written as its name
    if any((c < " " and c != "\t") or c == "\x7f" for c in value):
        raise ValueError(f"header {name}: the value must not contain control characters")
    return name, value
