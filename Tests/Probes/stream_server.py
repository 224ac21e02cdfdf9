"""A function for the tests of long streams: takes and makes bytes as they come, and holds none of them.

GET /events?count=N&pause=S     server-sent events, each with its number and the time it was sent
GET /source?bytes=N[&chunked=1] bytes that depend on where they stand
POST /sink[?pause=S&every=N]    counts and hashes the body; pauses S seconds after every N bytes
POST /early                     answers 413 before it reads anything
"""

import hashlib
import http.server
import json
import os
import signal
import time
import urllib.parse

BLOCK = 1 << 16
# The bytes of a block after its number; odd in length, so that no power of two hides a piece that stands elsewhere.
FILL = bytes((7 * index + index // 251) % 256 for index in range(BLOCK - 8))


def block(number):
    return number.to_bytes(8, "big") + FILL


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def query(self):
        parts = urllib.parse.urlsplit(self.path)
        return parts.path, {key: values[0] for key, values in urllib.parse.parse_qs(parts.query).items()}

    def start(self, status, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def do_GET(self):
        path, query = self.query()
        if path == "/events":
            self.start(200, Content_Type="text/event-stream", Transfer_Encoding="chunked")
            begin = time.time()
            for number in range(int(query["count"])):
                # On a fixed beat, so that a slow write does not make the next event late.
                time.sleep(max(0, begin + number * float(query["pause"]) - time.time()))
                self.chunk(f"id: {number}\ndata: {time.time():.6f}\n\n".encode())
            self.chunk(b"")
        elif path == "/source":
            left = int(query["bytes"])
            chunked = "chunked" in query
            self.start(200, **({"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(left)}))
            number = 0
            while left > 0:
                data = block(number)[: min(left, BLOCK)]
                if chunked:
                    self.chunk(data)
                else:
                    self.wfile.write(data)
                left -= len(data)
                number += 1
            if chunked:
                self.chunk(b"")
        else:
            self.start(200, Content_Length="3")
            self.wfile.write(b"ok\n")

    def do_POST(self):
        path, query = self.query()
        if path == "/early":
            self.close_connection = True
            self.start(413, Content_Length="5", Connection="close")
            self.wfile.write(b"early")
            return
        pause, every = float(query.get("pause", 0)), int(query.get("every", 1 << 62))
        digest, count, due = hashlib.sha256(), 0, every
        for data in self.body():
            digest.update(data)
            count += len(data)
            while count >= due:
                time.sleep(pause)
                due += every
        text = json.dumps({"bytes": count, "sha256": digest.hexdigest()}).encode()
        self.start(200, Content_Length=str(len(text)), Content_Type="application/json")
        self.wfile.write(text)

    do_PUT = do_POST

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            left = int(self.headers.get("Content-Length", "0"))
            while left > 0:
                data = self.rfile.read1(min(left, BLOCK))
                if not data:
                    raise ConnectionError("the body broke off")
                left -= len(data)
                yield data
            return
        while (size := int(self.rfile.readline(), 16)) > 0:
            while size > 0:
                data = self.rfile.read1(min(size, BLOCK))
                if not data:
                    raise ConnectionError("the body broke off")
                size -= len(data)
                yield data
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever(poll_interval=3600)
