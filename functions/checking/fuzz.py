"""The Python runner's parser, in this process, against seeded mutations: it gives a request or BadRequest, never more."""

import random
import sys

from .pod import FUNCTIONS, Failure

SEEDS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a/b?c=d&e=%20 HTTP/1.1\r\nHost: example.org:80\r\nContent-Length: 5\r\nX-Call-Id: 1-2\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nhost:x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
    b"PUT /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: \xc3\xa9\r\nAccept:\t*/*\t\r\nConnection: close, te\r\n\r\n",
]
PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"0", b"-1", b"ffffffffffffffff", b"99999999999999999999", b"chunked",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n", b"Host: y\r\n", b"\r\n\r\n", b"%", b"HTTP/1.1", b"\xff\xfe", b";",
]
BODY_LIMIT = 4096


def mutate(rest, data):
    data = bytearray(data)
    for _ in range(rest.randint(1, 6)):
        at = rest.randrange(len(data) + 1)
        kind = rest.randrange(5)
        if kind == 0 and at < len(data):
            data[at] = rest.randrange(256)
        elif kind == 1:
            data[at:at] = rest.choice(PIECES)
        elif kind == 2:
            del data[at : at + rest.randint(1, 8)]
        elif kind == 3:
            data[at:at] = data[at : at + rest.randint(1, 40)]
        elif data:
            data[at:] = rest.choice(SEEDS)[rest.randrange(20) :]
    return bytes(data)


def read(http, data, cuts):
    """Reads a request as the runner does: the head, then a chunked body fed in pieces."""
    found = http.split_head(data)
    if found is None:
        return False
    request = http.parse_head(found[0])
    for name, value in request.headers.items():
        if not name or "\r" in value or "\n" in value or "\0" in value or name != name.lower():
            raise Failure(f"header {name!r}: {value!r} went through")
    if not request.method or not (request.path.startswith("/") or request.path == "*") or request.length < -1:
        raise Failure(f"a wrong request went through: {request.method!r} {request.path!r} {request.length}")
    if "transfer-encoding" in request.headers and request.length != http.CHUNKED:
        raise Failure("a transfer coding was overlooked")
    if request.length != http.CHUNKED:
        return True
    chunks, buffer, rest = http.Chunks(BODY_LIMIT), bytearray(), data[found[1] :]
    for at in range(0, len(rest), cuts):
        buffer += rest[at : at + cuts]
        if chunks.feed(buffer):
            break
    if len(chunks.body) > BODY_LIMIT:
        raise Failure("the body went over its limit")
    return True


def fuzz(seed, mutations):
    """(mutations that were requests, refused, unfinished)."""
    sys.path.insert(0, f"{FUNCTIONS}/runtimes/python")
    sys.dont_write_bytecode = True
    import apus_http as http

    rest = random.Random(seed)
    counts = [0, 0, 0]
    for number in range(mutations):
        data = mutate(rest, rest.choice(SEEDS))
        try:
            counts[0 if read(http, data, rest.randint(1, 9)) else 2] += 1
        except http.BadRequest as bad:
            counts[1] += 1
            if bad.status not in (400, 413, 417, 431, 501, 505):
                raise Failure(f"status {bad.status}") from None
        except Exception as error:
            raise Failure(f"seed {seed}, mutation {number}: {type(error).__name__}: {error} for {data!r}") from error
    return counts
