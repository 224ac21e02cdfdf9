"""The end of the process: what the interpreter would do, as far as it matters, and whether there is anything to do."""

import posix
import sys

import _thread
import atexit

import apus_frames

# What a zygote would have to do at its end, set there; a pod of it that came to no more has nothing to do at its own.
zygotes_work = None


def work():
    """How much there is to do at the end; functions add to each of these."""
    logging, weakref = sys.modules.get("logging"), sys.modules.get("weakref")
    return (
        atexit._ncallbacks(),
        _thread._count(),
        len(logging._handlerList) if logging else 0,
        len(weakref.finalize._registry) if weakref else 0,
    )


def flush_streams():
    """Writes out what waits in the streams; whether they are those that a pod begins with."""
    ours = True
    for stream in (sys.stdout, sys.stderr):
        ours = ours and type(stream) is apus_frames.CapturedStream
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    return ours


def is_all():
    """Whether the process may end without another line of Python. To run those would make eighty pages of the interpreter
    this pod's own, only to give them back: a fifth of what its end costs."""
    return work() == zygotes_work and flush_streams()


def leave():
    """Ends the process as the interpreter would (threads, atexit, streams), without taking its modules apart first: that
    would write to every page of them, and costs 15 ms of the processor a pod."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    flush_streams()
    posix._exit(0)
