"""A function's runner as a pod would start it, without a cluster, and an HTTP client that shows every byte."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

FUNCTIONS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 20
ANSWER_SECONDS = 30


class Failure(Exception):
    """A check that did not hold."""


def eventually(condition, what, seconds=5):
    """Waits until condition() is true; Failure after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for {what}")
        time.sleep(0.005)


class Answer:
    def __init__(self, status, headers, body, closes):
        self.status, self.headers, self.body, self.closes = status, headers, body, closes

    def json(self):
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, connect):
        self.socket = connect()
        self.socket.settimeout(ANSWER_SECONDS)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return data

    def until(self, mark):
        while mark not in self.buffer:
            if not self.receive():
                raise Failure(f"the connection ended after {self.buffer[:200]!r}")
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.receive():
                raise Failure(f"the connection ended {count - len(self.buffer)} bytes early")
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def head(self):
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(first.split(" ")[1]), headers

    def chunk(self):
        data = self.exactly(int(self.until(b"\r\n").split(b";")[0], 16))
        if self.exactly(2) != b"\r\n":
            raise Failure("a chunk of the answer does not end with CRLF")
        return data

    def answer(self, method="POST"):
        """The next answer, read to its end."""
        status, headers = self.head()
        body = b""
        if method == "HEAD" or status in (204, 304) or status < 200:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while piece := self.chunk():
                body += piece
        elif "content-length" in headers:
            body = self.exactly(int(headers["content-length"]))
        else:
            while self.receive():
                pass
            body, self.buffer = self.buffer, b""
        return Answer(status, headers, body, headers.get("connection") == "close")

    def cut(self):
        """Reads a chunked answer whose head was read; True if it breaks off without its last chunk."""
        try:
            while self.chunk():
                pass
        except (Failure, ConnectionResetError):
            return True
        return False

    def ended(self):
        """True when the server has closed and sent nothing more."""
        try:
            return not self.buffer and not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


def request(method="POST", path="/", body=b"", headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: function.test", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Pod:
    """A runner with descriptors 3, 4 and 5, or for a binary a server on a free $PORT. Use as a context manager."""

    def __init__(self, argv, folder, environment=(), concurrency=1, port=False):
        self.home = tempfile.mkdtemp(prefix="apus-check-")
        self.path = f"{self.home}/s"
        self.port = None
        self.frames, self.frame_errors, self.control, self.text = [], [], b"", b""
        environment = dict(
            PATH=os.environ["PATH"], HOME=self.home, TMPDIR=self.home, PORT="8080", K_SERVICE="check", LISTEN_FDS="1",
            APUS_FUNCTION="check", APUS_REVISION="check-00001", APUS_NAMESPACE="default", APUS_POD="check-00001-abcde",
            APUS_NODE="here", APUS_CONCURRENCY=str(concurrency), **dict(environment),
        )
        if port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            environment["PORT"] = str(self.port)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(1024)
        self.listener = listener
        ends = [os.pipe(), os.pipe()]
        given = (listener.fileno(), ends[0][1], ends[1][1])

        def place():
            high = [os.dup2(fd, 100 + index) for index, fd in enumerate(given)]
            for index, fd in enumerate(high):
                os.dup2(fd, 3 + index)
                os.close(fd)

        self.process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=(3, 4, 5), preexec_fn=place,
        )
        os.close(ends[0][1])
        os.close(ends[1][1])
        listener.close()
        self.threads = [
            threading.Thread(target=self._frames, args=(ends[0][0],)),
            threading.Thread(target=self._control, args=(ends[1][0],)),
            threading.Thread(target=self._text),
        ]
        for thread in self.threads:
            thread.start()

    def _frames(self, fd):
        with os.fdopen(fd, "rb") as pipe:
            for line in pipe:
                try:
                    if len(line) > 256 * 1024:
                        raise ValueError("longer than 256 KiB")
                    self.frames.append(json.loads(line))
                except ValueError as error:
                    self.frame_errors.append(f"{error}: {line[:200]!r}")

    def _control(self, fd):
        with os.fdopen(fd, "rb", buffering=0) as pipe:
            while data := pipe.read(64):
                self.control += data

    def _text(self):
        while data := self.process.stdout.read1(65536):
            self.text += data

    def connect(self):
        connection = socket.socket(socket.AF_UNIX if self.port is None else socket.AF_INET)
        connection.connect(self.path if self.port is None else ("127.0.0.1", self.port))
        return connection

    def ready(self):
        """Waits until the pod said that it is ready (a binary: until its port answers)."""

        def is_ready():
            if self.process.poll() is not None:
                raise Failure(f"ended with {self.process.returncode}: {self.text.decode('utf-8', 'replace')[-2000:]}")
            if self.port is None:
                return self.control
            try:
                self.connect().close()
                return True
            except OSError:
                return False

        eventually(is_ready, "the pod to be ready", START_SECONDS)
        return self

    def client(self):
        return Client(self.connect)

    def call(self, method="POST", path="/", body=b"", headers=()):
        """One request on a connection of its own."""
        client = self.client()
        try:
            client.send(request(method, path, body, headers))
            return client.answer(method)
        finally:
            client.close()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=10):
        code = self.process.wait(seconds)
        for thread in self.threads:
            thread.join(seconds)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.wait()
        self.process.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)
