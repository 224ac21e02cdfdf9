"""Makes Python pods in a millisecond: /usr/bin/python3 -I -S /runtime/zygote.py, started by the spawner, never by a user.

It loads the runner and the modules that functions import most, then waits in apus_zygote's C code and forks a pod for each
message. What follows `serve()` runs in the pod, unprivileged; what follows `wait()` knows what the pod is. One thread
throughout.
"""

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


def preload(names):
    for name in names:
        try:
            __import__(name)
        except ImportError:
            pass


def become(payload):
    """Takes the environment the pod was given: `NAME=value` and NUL for each variable."""
    import posix

    # os.environ, where os is loaded, is a view of this very dictionary.
    for name in list(posix.environ):
        posix.unsetenv(name)
    posix.environ.clear()
    for variable in payload.split(b"\0"):
        name, separator, value = variable.partition(b"=")
        if separator:
            posix.putenv(name, value)
            posix.environ[name] = value
    if b"TZ" in posix.environ:
        import time

        time.tzset()
    posix.chdir(b"/function")
    sys.argv[:] = ["/runtime/runner.py"]


def open_streams():
    """The zygote's own were /dev/null; what stands at these numbers now is the pod's."""
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def main():
    import gc

    sys.dont_write_bytecode = True
    sys.path.insert(0, __file__.rpartition("/")[0] or ".")
    import apus_serve
    import apus_zygote

    preload(LEAN if "lean" in sys.argv[1:] else COMMON)
    # What is loaded now is never garbage: a collection in a pod would write to, and so copy, every page of it.
    gc.collect()
    gc.freeze()
    apus_zygote.serve()
    # In a pod from here on; it may be told already what it is.
    open_streams()
    if not apus_zygote.is_told():
        apus_serve.warm_up()
    become(apus_zygote.wait())
    apus_serve.run()


if __name__ == "__main__":
    main()
