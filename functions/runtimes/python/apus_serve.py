"""The serving loop of the Python runner: one thread polls every connection, calls run one at a time in that same thread
(APUS_CONCURRENCY=1) or each in a thread of its own, never more than APUS_CONCURRENCY of them."""

import posix
import sys

import _signal
import _socket
import _thread
import select

import apus
import apus_frames
import apus_load
from apus_connection import READ_BYTES, Connection, Gone
from apus_http import CHUNKED, BadRequest, answer_head

LISTENER, FRAME_PIPE, CONTROL_PIPE = 3, 4, 5
DEFAULT_MAX_BODY = 100 * 1024 * 1024
HEAD_SECONDS = 30  # a head that was begun must end
FAILURE_CHARACTERS = 1024
READABLE = select.EPOLLIN | select.EPOLLRDHUP
IDENTITY = (b"APUS_FUNCTION", b"APUS_REVISION", b"APUS_NAMESPACE", b"APUS_POD")
REAP_CALLS = 8  # orphans are looked for after so many calls
END = object()  # what next() gives when a generator is done


class Server:
    def __init__(self, handler, frames, environment, listener=LISTENER):
        self.handler = handler
        self.frames = frames
        self.concurrency = max(1, int(environment.get(b"APUS_CONCURRENCY") or 1))
        self.threads = self.concurrency > 1
        self.max_body = int(environment.get(b"APUS_MAX_BODY") or DEFAULT_MAX_BODY)
        self.identity = tuple([environment.get(name, b"").decode("utf-8", "replace") for name in IDENTITY])
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, listener)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.connections = {}
        self.beginning = {}  # connections with half a head
        self.ready = []  # connections with a head, in order of arrival, waiting for a slot
        self.running = 0
        self.finished = []  # (connection, goes on) from call threads
        self.draining = False
        self.full = False  # no descriptor left for another connection
        self.reaps = posix.getpid() == 1
        self.unreaped = 0  # calls ended since orphans were looked for
        self.wake_read, self.wake_write = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        self.zygote = sys.modules.get("apus_zygote")

    def terminate(self, *_):
        self.draining = True

    def begin(self):
        """From here on SIGTERM ends it in order, and connections are noticed."""
        _signal.signal(_signal.SIGTERM, self.terminate)
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        _signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        if self.zygote is not None:
            self.zygote.end_at_rest()
        self.epoll.register(self.wake_read, select.EPOLLIN)
        self.epoll.register(LISTENER, select.EPOLLIN)

    def serve(self):
        listening = True
        while True:
            if self.draining:
                if listening:
                    listening = False
                    self.epoll.unregister(LISTENER)
                    self.listener.close()
                for connection in [c for c in self.connections.values() if not c.running and c.request is None]:
                    self.close(connection)
                if not self.connections:
                    return
            # While it waits a pod of a zygote may be ended at once, if nothing is to be done at its end.
            if self.zygote is not None:
                self.zygote.rest(not self.threads and not self.draining)
            try:
                happened = self.epoll.poll(1.0 if self.beginning else -1)
            except Exception as error:  # of a signal's handler that the function set: no call's, and not the pod's end
                sys.stderr.write(apus_frames.traceback_of(error))
                happened = ()
            if self.zygote is not None:
                self.zygote.rest(False)
            for fd, events in happened:
                if fd == LISTENER:
                    self.accept()
                elif fd == self.wake_read:
                    self.wake()
                elif (connection := self.connections.get(fd)) is not None:
                    self.readable(connection)
            if self.beginning:
                self.expire()
            self.start()

    def accept(self):
        for _ in range(64):
            try:
                fd, _ = self.listener._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == 24:  # no descriptor left: the connection that was idle longest makes room
                    idle = next((c for c in self.connections.values() if not c.running and not c.buffer), None)
                    if idle is not None and idle.request is None:
                        self.close(idle)
                    else:
                        self.full = True
                        self.epoll.modify(LISTENER, 0)
                return
            connection = Connection(fd)
            self.connections[fd] = connection
            self.watch(connection)
            self.readable(connection)

    def readable(self, connection):
        try:
            data = connection.socket.recv(READ_BYTES, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.close(connection)
        self.advance(connection, data)

    def advance(self, connection, data=b""):
        """Queues the connection's next call if its head is there; otherwise waits for more bytes."""
        try:
            whole = False if connection.buffer else connection.take(data)
            if not whole:
                connection.buffer += data
                whole = connection.advance()
        except BadRequest as bad:
            connection.refuse(bad.status, bad.code, str(bad))
            return self.close(connection)
        if whole:
            if self.beginning:
                self.beginning.pop(connection, None)
            self.ready.append(connection)
            if self.threads and connection.watched:  # else nothing is polled before this call has ended
                self.unwatch(connection)
            return
        if connection.buffer and connection not in self.beginning:
            self.beginning[connection] = apus.time.monotonic()
        if not connection.watched:
            self.watch(connection)

    def watch(self, connection):
        connection.watched = True
        self.epoll.register(connection.fd, READABLE)

    def unwatch(self, connection):
        connection.watched = False
        self.epoll.unregister(connection.fd)

    def expire(self):
        now = apus.time.monotonic()
        for connection, since in list(self.beginning.items()):
            if now - since > HEAD_SECONDS:
                connection.refuse(408, "request_timeout", "the head stopped arriving")
                self.close(connection)

    def wake(self):
        try:
            posix.read(self.wake_read, 4096)
        except BlockingIOError:
            pass
        finished, self.finished = self.finished, []
        for connection, goes_on in finished:
            self.ended(connection, goes_on)

    def start(self):
        while self.ready and self.running < self.concurrency:
            connection = self.ready.pop(0)
            connection.running = True
            self.running += 1
            if not self.threads:
                goes_on = False
                try:
                    goes_on = self.call(connection)
                except Exception as error:  # of a signal's handler, in the moment between the call and here
                    sys.stderr.write(apus_frames.traceback_of(error))
                self.ended(connection, goes_on)
            elif not self.start_thread(connection):
                return

    def start_thread(self, connection):
        """False when the pod has no thread left (spec.resources.pids): the call waits for another to end."""
        try:
            _thread.start_new_thread(self.call_in_thread, (connection,))
            return True
        except RuntimeError:
            connection.running = False
            self.running -= 1
            if self.running:
                self.ready.insert(0, connection)
            else:
                connection.refuse(503, "no_capacity", "no thread is left for this call: raise spec.resources.pids")
                connection.request = None
                self.close(connection)
            return False

    def call_in_thread(self, connection):
        goes_on = False
        try:
            goes_on = self.call(connection)
        finally:
            self.finished.append((connection, goes_on))
            try:
                posix.write(self.wake_write, b"c")
            except BlockingIOError:  # full: the loop is woken already
                pass

    def ended(self, connection, goes_on):
        connection.running = False
        connection.request = None
        self.running -= 1
        self.unreaped += 1
        if self.unreaped >= REAP_CALLS and self.reaps and not self.running:
            self.unreaped = 0
            self.reap()
        if not goes_on:
            self.close(connection)
        elif connection.buffer or not connection.watched:
            self.advance(connection)

    def reap(self):
        """As pid 1: takes leave of the children that a call left behind."""
        try:
            while posix.waitpid(-1, posix.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def close(self, connection):
        if self.connections.pop(connection.fd, None) is None:
            return
        self.beginning.pop(connection, None)
        if connection.watched:  # a child of the function may hold the descriptor: closing would not end the watch
            self.unwatch(connection)
        try:
            connection.socket.shutdown(_socket.SHUT_RDWR)  # a child of the function may hold it: closing would not end it
        except OSError:
            pass
        connection.socket.close()
        if self.full and not self.draining:
            self.full = False
            self.epoll.modify(LISTENER, select.EPOLLIN)

    # A call

    def call(self, connection):
        """Runs one call and answers it. True when the connection goes on with its next request."""
        request = connection.request
        try:
            body = connection.read_body(self.max_body)
        except BadRequest as bad:
            connection.refuse(bad.status, bad.code, str(bad))
            return False
        except Gone:
            return False
        headers = request.headers
        call_id = headers.get("x-call-id", "")
        deadline = headers.get("x-apus-deadline", "")
        deadline = int(deadline) if deadline.isascii() and deadline.isdigit() and len(deadline) < 16 else None
        output = apus_frames.CallOutput(self.frames, call_id)
        event = apus.Event(body, request.method, request.path, request.query, headers)
        context = apus.Context(
            call_id, deadline, self.identity, headers.get("traceparent", ""), output, connection
        )
        body = None
        token = apus_frames.current.set(output)
        try:
            try:
                answer = apus.render(self.handler(event, context))
                first = next(answer[2], END) if hasattr(answer[2], "__next__") else END
            except BaseException as error:
                answer, first = self.failed(error, output, call_id), END
            output.flush()
            return self.answer(connection, request, answer, first, output)
        except Gone:
            return False
        finally:
            output.flush()
            apus_frames.current.reset(token)

    def failed(self, error, output, call_id):
        """The answer to a call whose handler raised; the traceback becomes one error record."""
        name = type(error).__name__
        try:
            text = str(error)[:FAILURE_CHARACTERS]
        except Exception:  # an exception that cannot even be shown
            text = ""
        message = f"{name}: {text}" if text else name
        output.flush()
        output.record("error", message, {"error": name, "traceback": apus_frames.traceback_of(error)})
        body = {"code": "function_failed", "message": message, "component": "function", "call": call_id}
        headers = [("Content-Type", "application/json"), ("X-Function-Error", name if name.isascii() else "Exception")]
        return 500, headers, apus.render_json(body)

    def answer(self, connection, request, answer, first, output):
        status, pairs, body = answer
        keep_alive = request.keep_alive and not self.draining
        minor = request.minor
        if hasattr(body, "__next__"):
            return self.stream(connection, request, answer, first, output, keep_alive)
        length = None if status in apus.BODILESS else len(body)
        head = answer_head(status, pairs, length, keep_alive, minor)
        if request.method == "HEAD" or length is None:
            body = b""
        if len(body) <= READ_BYTES:
            connection.send(head + body)
        else:
            connection.send(head)
            connection.send(body)
        return keep_alive

    def stream(self, connection, request, answer, first, output, keep_alive):
        status, pairs, body = answer
        chunked = request.minor == 1
        keep_alive = keep_alive and chunked
        bodiless = status in apus.BODILESS
        head = answer_head(status, pairs, CHUNKED if chunked and not bodiless else None, keep_alive, request.minor)
        try:
            connection.send(head)
            if request.method == "HEAD" or bodiless:
                return keep_alive
            piece = first
            while piece is not END:
                data = piece.encode("utf-8", "replace") if isinstance(piece, str) else bytes(memoryview(piece))
                if data:
                    connection.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                if connection.gone():
                    raise Gone
                piece = next(body, END)
            if chunked:
                connection.send(b"0\r\n\r\n")
            return keep_alive
        except Gone:
            raise
        except BaseException as error:  # the head is out: only a cut connection can say that this failed
            self.failed(error, output, "")
            return False
        finally:
            if hasattr(body, "close"):
                try:
                    body.close()
                except BaseException as error:
                    self.failed(error, output, "")


def leave():
    """Ends the process as the interpreter would (threads, atexit, streams), without taking its modules apart first: that
    would write to every page of them, and costs 15 ms of the processor a pod."""
    import atexit

    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    posix._exit(0)


def stand_in():
    """What functions find in the interpreter that would not be there."""
    import builtins

    builtins.exit = builtins.quit = sys.exit  # what the site module would have set
    apus_frames.capture()


def run(folder=None):
    """Loads the handler, says so on the control pipe, serves until SIGTERM. Ends the process. After stand_in()."""
    for fd in (LISTENER, FRAME_PIPE, CONTROL_PIPE):
        try:
            posix.set_inheritable(fd, False)
        except OSError:
            if fd == LISTENER:
                sys.stderr.write("the runner needs a listening unix socket on descriptor 3\n")
                raise SystemExit(1) from None
    environment = posix.environ
    try:
        if int(environment.get(b"APUS_CONCURRENCY") or 1) > 1:
            import threading  # noqa: F401  (must be imported by the main thread first)
        spec = environment.get(b"APUS_HANDLER", b"").decode("utf-8", "replace") or "handler.py:handle"
        handler = apus_load.load(spec, folder or posix.getcwd())
        server = Server(handler, apus_frames.Frames(FRAME_PIPE), environment)
        server.begin()
    except BaseException as error:
        text = str(error) + "\n" if isinstance(error, SystemExit) else apus_frames.traceback_of(error)
        sys.stderr.write(text)
        sys.stderr.flush()
        raise SystemExit(1) from None
    try:
        posix.write(CONTROL_PIPE, b"1")
    except OSError:
        pass
    server.serve()
    leave()
