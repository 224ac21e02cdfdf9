"""Makes Python pods in a millisecond: /usr/bin/python3 -I -S /runtime/zygote.py, started by the spawner, never by a user.

It loads the runner and the modules that functions import most, then waits in apus_zygote's C code and forks a pod for each
message. What follows `serve()` runs in the pod, unprivileged; what follows `wait()` knows what the pod is. One thread
throughout.

A pod's own memory is what it writes to after its fork, and Python writes to whatever it looks at: reference counts, the
counters in code that is not warm yet. So all that can be done once is done here, before anyone is forked.
"""

import posix
import sys

# What importing costs a cold start: asyncio 44 ms, urllib 35, http.client 26, json 8. A missing one is no fault.
COMMON = (
    "asyncio", "base64", "collections", "concurrent.futures", "contextlib", "copy", "csv", "dataclasses", "datetime",
    "decimal", "email.message", "enum", "functools", "hashlib", "hmac", "html", "http.client", "io", "itertools", "json",
    "logging", "math", "operator", "os", "os.path", "pathlib", "queue", "random", "re", "secrets", "shutil", "socket",
    "ssl", "statistics", "string", "struct", "subprocess", "tempfile", "textwrap", "threading", "time", "traceback",
    "types", "typing", "unicodedata", "urllib.error", "urllib.parse", "urllib.request", "uuid", "zlib",
)
LEAN = ("os", "threading")
FOLDER = "/function"  # where a pod has its function

WARM_ROUNDS = 16  # Python 3.11 specialises code after eight calls, and once more where the first guess was wrong
WARM_HANDLER = b"""
def handle(event, context):
    print("warm", event.path, event.query)
    context.log.info("warm", size=len(event.body))
    return {"hello": event.text, "call": context.call_id, "left": context.remaining_ms()}
"""
WARM_CALL = (
    b"POST /warm?a=b HTTP/1.1\r\nHost: warm\r\nUser-Agent: warm\r\nAccept: */*\r\nX-Call-Id: warm\r\n"
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: warm\r\n"
    b"traceparent: 00-0-0-01\r\nX-Apus-Deadline: 1\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nwarm"
)
ANSWER_BYTES = 16 * 1024
# The sizes of object that Python's allocator keeps apart, and how many of each fill what imports left free between theirs.
SMALL_SIZES = range(48, 513, 16)
FILLING = 60


def preload(names):
    for name in names:
        try:
            __import__(name)
        except ImportError:
            pass


def preload_without_hooks(names, in_pods):
    """Preloads modules; what they want done around a fork is done around those of functions only. The fork that makes a
    pod copies one thread, which holds no lock, and to make every lock anew would be a quarter of a megabyte of each pod's
    own. `in_pods` makes such a callable of another."""
    register = posix.register_at_fork
    posix.register_at_fork = lambda **hooks: register(**{when: in_pods(hook) for when, hook in hooks.items()})
    preload(names)
    posix.register_at_fork = register
    if "os" in sys.modules:
        sys.modules["os"].register_at_fork = register


def open_streams():
    """Streams of descriptors 0, 1 and 2, whatever these are by then, made while they are pipes: no stream may believe
    that it can seek. Only the beginning of a line waits in them, so that little is to be written at a pod's end."""
    import io

    import apus_serve

    ends = posix.pipe()
    kept = [posix.dup(fd) for fd in range(3)]
    for fd, end in zip(range(3), (ends[0], ends[1], ends[1])):
        posix.dup2(end, fd)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8")
    apus_serve.stand_in()
    for fd, own in enumerate(kept):
        posix.dup2(own, fd)
        posix.close(own)
    for end in ends:
        posix.close(end)


def warm_up():
    """Answers calls of its own, so that the code of a call is specialised before any fork."""
    import _socket

    import apus_connection
    import apus_frames
    import apus_load
    import apus_serve

    path = sys.path[:]
    for _ in range(WARM_ROUNDS):
        apus_load.load("runner.py:main", path[0])
        handler = apus_load.execute("apus_warm", "/function/warm.py", WARM_HANDLER).handle
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        server = apus_serve.Server(handler, apus_frames.Frames(-1), {}, posix.dup(ours.fileno()))
        connection = apus_connection.Connection(theirs.detach())
        server.connections[connection.fd] = connection
        ours.send(WARM_CALL)
        server.readable(connection)
        server.start()
        ours.recv(ANSWER_BYTES)
        server.close(connection)
        ours.close()
        server.epoll.close()
        server.listener.close()
        posix.close(server.wake_read)
        posix.close(server.wake_write)
        sys.path[:] = path
    for name in ("apus_warm", "runner"):
        del sys.modules[name]


def watch_ends(watch):
    """Names all that a function can add to what is to be done at its end; what there is of it now is the zygote's, and
    nothing."""
    import _thread
    import atexit

    import apus_frames

    watch(atexit._ncallbacks)
    watch(_thread._count)
    watch(apus_frames.unfinished)
    if "logging" in sys.modules:
        watch(sys.modules["logging"]._handlerList)
    if "weakref" in sys.modules:
        watch(sys.modules["weakref"].finalize._registry)


def fill_holes():
    """Objects in the places that imports left free: what a pod makes of its own then stands together, in few pages. The
    caller keeps them."""
    header = sys.getsizeof(b"")
    return [[bytes(size - header) for _ in range(FILLING)] for size in SMALL_SIZES]


def become():
    """Takes what the pod was told it is; `wait()` has put that into the environment."""
    if b"TZ" in posix.environ:
        import time

        time.tzset()
    posix.chdir(FOLDER)
    sys.argv[:] = ["/runtime/runner.py"]


def main():
    import gc

    sys.dont_write_bytecode = True
    sys.path.insert(0, __file__.rpartition("/")[0] or ".")
    import apus_zygote

    apus_zygote.gather()
    import apus_serve

    preload_without_hooks(LEAN if "lean" in sys.argv[1:] else COMMON, apus_zygote.in_pods)
    open_streams()
    warm_up()
    # What is loaded now is never garbage: a collection in a pod would write to, and so copy, every page of it.
    gc.collect()
    watch_ends(apus_zygote.watch)
    filling = fill_holes()  # noqa: F841  (kept as long as this process is)
    gc.freeze()
    apus_zygote.serve()
    # In a pod from here on; it may be told already what it is. What hooks do that its own fork needs, in fewer steps:
    # random.seed(), and the number of the one thread.
    if "random" in sys.modules:
        sys.modules["_random"].Random.seed(sys.modules["random"]._inst)
    if "threading" in sys.modules:
        sys.modules["threading"]._main_thread._native_id = sys.modules["_thread"].get_native_id()
    apus_zygote.wait(posix.environ)  # os.environ, where os is loaded, is a view of this very dictionary
    become()
    apus_serve.run(FOLDER)


if __name__ == "__main__":
    main()
