"""What a function writes, as frames on descriptor 4: one JSON object a line, each carrying its call's id."""

import posix
import sys

import _contextvars
import _json
import _thread

LINE_BYTES = 64 * 1024  # a longer line is sent in parts
DENSE_BYTES = 40 * 1024  # the same for text that JSON escapes sixfold, so that a frame stays below 256 KiB
MESSAGE_CHARACTERS = 16 * 1024
FIELDS = 256
FRAME_BYTES = 256 * 1024
TRACEBACK_CHARACTERS = 32 * 1024

current = _contextvars.ContextVar("apus.call")
quote = _json.encode_basestring


class Frames:
    """The write end of the frame pipe; a frame is one write under a lock. A finalizer may run in the midst of one, on the
    same thread, and print: its frame waits for the end of that one."""

    def __init__(self, fd):
        self.fd = fd
        self.lock = _thread.RLock()
        self.writing = False
        self.late = []

    def send(self, text):
        data = text.encode("utf-8", "replace")
        with self.lock:
            self.late.append(data)
            if self.writing:
                return
            self.writing = True
            try:
                while self.late:
                    data = self.late.pop(0)
                    while data:
                        data = data[posix.write(self.fd, data) :]
            except OSError:  # nobody reads any more: the line is lost, the function goes on
                self.late.clear()
            finally:
                self.writing = False


class CallOutput:
    """The output of one call: keeps the unfinished line of each stream until its end is written."""

    __slots__ = ("frames", "call", "pending", "part", "lock")

    def __init__(self, frames, call):
        self.frames = frames
        self.call = call
        self.pending = None  # nothing was written yet, as in most calls
        self.part = None
        self.lock = _thread.RLock()  # a finalizer that runs within may print

    @property
    def prefix(self):
        return f'{{"call":{quote(self.call)},' if self.call else "{"

    def write(self, stream, text):
        with self.lock:
            if self.pending is None:
                self.pending = {"stdout": "", "stderr": ""}
                self.part = {"stdout": 0, "stderr": 0}
            *lines, rest = (self.pending[stream] + text).split("\n")
            self.pending[stream] = ""
            for line in lines:
                self._line(stream, line, True)
            if len(rest) >= LINE_BYTES:
                rest = self._line(stream, rest, False)
            self.pending[stream] += rest

    def _line(self, stream, line, complete):
        """Sends a line, in parts if it is long; of an incomplete one returns what did not fill a part."""
        if line.endswith("\r"):
            line = line[:-1] if complete else line
        data = line.encode("utf-8", "replace")
        while len(data) > LINE_BYTES or (not complete and len(data) == LINE_BYTES):
            text = data[: part_end(data, LINE_BYTES)].decode("utf-8", "replace")
            if len(quote(text).encode("utf-8", "replace")) > FRAME_BYTES - 8 * 1024:
                text = data[: part_end(data, DENSE_BYTES)].decode("utf-8", "replace")
            self.part[stream] += 1
            self._frame(stream, text, self.part[stream])
            data = data[len(text.encode("utf-8")) :]
        rest = data.decode("utf-8", "replace")
        if not complete:
            return rest
        if self.part[stream]:
            self._frame(stream, rest, self.part[stream] + 1)
            self.part[stream] = 0
        else:
            self._frame(stream, rest, 0)
        return ""

    def _frame(self, stream, text, part):
        tail = f',"part":{part}}}\n' if part else "}\n"
        self.frames.send(f'{self.prefix}"stream":"{stream}","line":{quote(text)}{tail}')

    def flush(self):
        """Sends what was written without an end of line."""
        if self.pending is None:
            return
        with self.lock:
            for stream, rest in self.pending.items():
                if rest or self.part[stream]:
                    self.pending[stream] = ""
                    self._line(stream, rest, True)

    def record(self, level, msg, fields):
        text = str(msg)[:MESSAGE_CHARACTERS]
        head = f'{self.prefix}"stream":"stderr","level":"{level}","msg":{quote(text)}'
        body = f',"fields":{render_fields(fields)}' if fields else ""
        if len(head) + len(body) > FRAME_BYTES // 4 and len((head + body).encode("utf-8", "replace")) > FRAME_BYTES - 64:
            body = ',"fields":{"apus.truncated":true}'
        self.frames.send(f"{head}{body}}}\n")


def part_end(data, limit):
    """Where a part of a long line ends: between characters."""
    end = limit
    while end > limit - 4 and end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


def render_fields(fields):
    if len(fields) > FIELDS:
        fields = dict(list(fields.items())[:FIELDS])
    try:
        encoder = _json.make_encoder({}, str, quote, None, ":", ",", False, True, False)
        return "".join(encoder(fields, 0))
    except (ValueError, TypeError, RecursionError):  # NaN, a loop, too deep: as text rather than not at all
        encoder = _json.make_encoder({}, str, quote, None, ":", ",", False, True, False)
        return "".join(encoder({str(name): repr(value)[:1024] for name, value in fields.items()}, 0))


def traceback_of(error):
    """The traceback as text, without the runner's own frames."""
    import traceback

    here = error.__traceback__
    while here is not None and here.tb_frame.f_globals.get("__name__") in ("apus_serve", "__main__", "runner"):
        here = here.tb_next
    text = "".join(traceback.format_exception(type(error), error, here or error.__traceback__))
    if len(text) > TRACEBACK_CHARACTERS:
        text = text[: TRACEBACK_CHARACTERS // 2] + "\n…\n" + text[-TRACEBACK_CHARACTERS // 2 :]
    return text


# Names of streams to which the beginning of a line was written outside of calls, and not yet its end.
unfinished = set()


class CapturedStream:
    """Stands in for sys.stdout and sys.stderr: inside a call its lines go to the call, outside to the plain stream."""

    def __init__(self, name, plain):
        self._name = name
        self._plain = plain

    def write(self, text):
        output = current.get(None)
        if output is None:
            count = self._plain.write(text)
            if text.endswith("\n"):
                unfinished.discard(self._name)
            else:
                unfinished.add(self._name)
            return count
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        output.write(self._name, text)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self._plain.flush()
        unfinished.discard(self._name)

    def __getattr__(self, name):
        return getattr(self._plain, name)


def capture():
    """Puts captured streams in the place of stdout and stderr."""
    for name in ("stdout", "stderr"):
        plain = getattr(sys, name)
        if plain is not None and not isinstance(plain, CapturedStream):
            plain.reconfigure(line_buffering=True, errors="replace")
            stream = CapturedStream(name, plain)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
