"""What the runner of one language must do besides the checks of every runner: the ways of that language to go wrong."""

import pathlib
import tempfile
import time

from .pod import eventually, request
from .runners import Runner, check_of, equal, expect


@check_of("python")
def takes_a_handler_with_the_name_of_a_module_of_the_language(runner):
    with tempfile.TemporaryDirectory() as folder:
        handler = pathlib.Path(folder, "queue.py")
        handler.write_text(
            "import sys, _json\n"
            "def handle(event, context):\n"
            "    return f'{__name__} {__file__} {__spec__.origin} {sys.modules[__name__].handle is handle}'\n"
        )
        environment = dict(runner.environment, APUS_HANDLER="queue.py:handle")
        with Runner(runner.name, runner.argv, folder, environment).pod() as pod:
            answer = pod.call("GET", "/")
            equal((answer.status, answer.body.decode()), (200, f"queue {handler} {handler} True"), "the module")


@check_of("python")
def refuses_answers_that_cannot_be_sent(runner):
    with runner.pod() as pod:
        for kind in ("forge", "forge-object", "status", "nothing", "odd"):
            answer = pod.call("GET", f"/?do=wrong&kind={kind}")
            equal((answer.status, answer.json()["code"]), (500, "function_failed"), kind)
            expect("set-cookie" not in answer.headers, "a header was forged")


@check_of("exec")
def kills_a_command_at_its_deadline(runner):
    with runner.pod() as pod:
        client = pod.client()
        began = time.monotonic()
        deadline = str(int(time.time() * 1000) + 400)
        client.send(request("GET", "/?do=cancel", b"", [("X-Apus-Deadline", deadline)]))
        expect(client.ended(), "it was answered")
        expect(0.3 < time.monotonic() - began < 2, "not at the deadline")
        began = time.monotonic()
        equal(pod.call("GET", "/?do=linger").body, b"done", "a command that leaves a process behind")
        expect(time.monotonic() - began < 2, "it waited for what was left behind")


@check_of("node")
def outlives_what_nobody_catches(runner):
    with runner.pod(concurrency=2) as pod:
        other = pod.client()
        other.send(request("GET", "/?do=sleep&ms=300", b"", [("X-Call-Id", "other")]))
        for do, kind in (("crash", "Error"), ("forget", "TypeError")):
            answer = pod.call("GET", f"/?do={do}", b"", [("X-Call-Id", do)])
            equal((answer.status, answer.headers.get("x-function-error")), (500, kind), do)
        equal(other.answer().body, b"slept", "a call beside them")
        client = pod.client()
        client.send(request("GET", "/?do=crash-stream", b"", [("X-Call-Id", "crash-stream")]))
        equal(client.head()[0], 200, "status of the stream")
        expect(client.cut(), "a stream that failed came to an orderly end")
        eventually(lambda: b"closed after all" in pod.text or any(
            f.get("line") == "closed after all" for f in pod.frames), "the end of the generator")
        equal(pod.call("GET", "/?do=late", b"", [("X-Call-Id", "late")]).body, b"answered", "the answer before")
        eventually(lambda: len([f for f in pod.frames if f.get("level") == "error"]) == 4, "the error records")
        errors = [frame for frame in pod.frames if frame.get("level") == "error"]
        equal([frame["call"] for frame in errors], ["crash", "forget", "crash-stream", "late"], "error records")
        expect(all("handler.mjs" in frame["fields"]["traceback"] for frame in errors), "tracebacks")
        equal(pod.call(body=b"alive").body, b"alive", "the next answer")


@check_of("node")
def keeps_nothing_of_what_it_has_streamed(runner):
    with runner.pod(concurrency=2) as pod:
        def held():
            return pod.call("GET", "/?do=memory").json()["bytes"]

        before = held()
        client = pod.client()
        client.send(request("GET", "/?do=stream-large&count=200"))
        equal(client.head()[0], 200, "status")
        most = size = 0
        while piece := client.chunk():
            size += len(piece)
            if size % (20 << 20) == 0:
                most = max(most, held() - before)
        equal(size, 200 << 20, "bytes")
        expect(most < 100 << 20, f"{most} bytes more than before were held")


@check_of("node")
def sends_only_the_head_of_a_stream_to_head(runner):
    with runner.pod() as pod:
        client = pod.client()
        client.send(request("HEAD", "/?do=endless") + request(body=b"next"))
        equal(client.answer("HEAD").status, 200, "status")
        equal(client.answer().body, b"next", "the next answer on the connection")
        eventually(lambda: any(f.get("line") == "ended" for f in pod.frames), "the generator's end")


@check_of("python")
def takes_no_default_timeout_of_the_function(runner):
    with runner.pod() as pod:
        equal(pod.call("GET", "/?do=default-timeout").body, b"set", "answer")
        client = pod.client()
        whole = request(body=b"slowly")
        client.send(whole[:-3])
        time.sleep(0.5)  # the fault under test: the client pauses for longer than the function's timeout
        client.send(whole[-3:])
        equal(client.answer().body, b"slowly", "answer to a body that pauses")
        client.send(request("GET", "/?do=stream"))
        time.sleep(0.5)  # and reads its answer late
        equal(len(client.answer().body), 1_400_007, "bytes of the answer")


@check_of("python")
def writes_the_values_of_named_numbers_and_texts(runner):
    with runner.pod() as pod:
        client = pod.client()
        for _ in range(2):
            client.send(request("GET", "/?do=enum"))
            equal(client.until(b"\r\n"), b"HTTP/1.1 200 OK", "status line")
            client.buffer = b"HTTP/1.1 200 OK\r\n" + client.buffer
            answer = client.answer()
            equal((answer.body, answer.headers["content-type"]), (b"named", "text/x-named"), "answer")


@check_of("python")
def outlives_a_signal_that_comes_after_its_call(runner):
    with runner.pod() as pod:
        equal(pod.call("GET", "/?do=alarm").body, b"set", "answer")
        eventually(lambda: b"nobody stopped the clock" in pod.text, "the traceback")
        equal(pod.call(body=b"alive").body, b"alive", "the next answer")


@check_of("python")
def cuts_a_stream_that_fails_beside_a_child(runner):
    with runner.pod() as pod:
        client = pod.client()
        client.send(request("GET", "/?do=fork"))
        client.socket.settimeout(5)
        equal((client.head()[0], client.chunk()), (200, b"begun"), "what came before")
        expect(client.cut(), "a stream that failed came to an orderly end")
        equal(pod.call(body=b"alive").body, b"alive", "the next answer")
