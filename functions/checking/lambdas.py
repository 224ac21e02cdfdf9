"""What the bridge of Lambda functions must do besides the checks of every runner that need no query to be seen."""

import json
import time

from .pod import Failure, Pod, eventually, request
from .runners import check_of, equal, expect

GENERIC = {
    "says_ready_with_one_byte", "keeps_a_connection", "answers_pipelined_requests_in_order",
    "reads_a_request_that_comes_byte_by_byte", "reads_chunks", "says_100_continue", "answers_head_without_a_body",
    "closes_after_http_1_0", "refuses_a_body_over_the_limit", "holds_many_idle_connections", "leaves_at_once_when_idle",
    "refuses_malformed_requests", "survives_mutated_requests",
}
INVOKE = ("X-Forwarded-Prefix", "/2015-03-31/functions/check/invocations")


def ask(pod, headers=(), **wanted):
    return pod.call("POST", "/", json.dumps(wanted).encode(), list(headers))


@check_of("lambda")
def gives_the_environment_of_lambda(runner):
    with runner.pod(APUS_HANDLER="app.handler", APUS_MEMORY_MIB="256") as pod:
        found = ask(pod, do="environment").json()
        wanted = {
            "_HANDLER": "app.handler", "AWS_LAMBDA_FUNCTION_NAME": "check", "AWS_LAMBDA_FUNCTION_VERSION": "check-00001",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "LAMBDA_TASK_ROOT": runner.folder, "AWS_REGION": "us-east-1",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/check", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        }
        equal({name: found.get(name) for name in wanted}, wanted, "environment")
        expect(found["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:"), "the API is not on the loopback")
        expect("AWS_LAMBDA_MAX_CONCURRENCY" not in found, "a concurrency is told where there is none")


@check_of("lambda")
def tells_an_invocation_who_and_until_when(runner):
    with runner.pod() as pod:
        deadline = str(int(time.time() * 1000) + 5000)
        trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
        context = "eyJjdXN0b20iOiB7ImEiOiAxfX0="
        found = ask(
            pod, [("X-Call-Id", "call-1"), ("X-Apus-Deadline", deadline), ("traceparent", trace),
                  ("X-Amz-Client-Context", context), ("Content-Type", "application/x-www-form-urlencoded")],
            do="headers").json()
        equal(found["lambda-runtime-aws-request-id"], "call-1", "request id")
        equal(found["lambda-runtime-deadline-ms"], deadline, "deadline")
        equal(found["lambda-runtime-invoked-function-arn"], "arn:aws:lambda:us-east-1:000000000000:function:check", "ARN")
        equal(
            found["lambda-runtime-trace-id"],
            "Root=1-01234567-89abcdef0123456789abcdef;Parent=0123456789abcdef;Sampled=1", "trace")
        equal(found["lambda-runtime-client-context"], '{"custom": {"a": 1}}', "client context")
        equal(found["content-type"], "application/json", "content type")
        equal(len(ask(pod, do="headers").json()["lambda-runtime-aws-request-id"]), 36, "length of a made id")
        equal(pod.call(body=b"").body, b"{}", "the event of an empty body")
        answer = pod.call(body=b"\0\1", headers=[("Content-Type", "image/x-odd")])
        equal((answer.body, answer.headers["content-type"]), (b"\0\1", "image/x-odd"), "a binary event")
        equal(answer.headers["x-amz-executed-version"], "check-00001", "version")


@check_of("lambda")
def holds_the_runtime_to_the_rules(runner):
    with runner.pod() as pod:
        equal(ask(pod, do="rules").json(), [400, 403, 403, 400, 405, 404], "answers out of order")
        eventually(lambda: b"rules [202, 403]" in pod.text or any(
            frame.get("line") == "rules [202, 403]" for frame in pod.frames), "a second answer to be refused")
        equal(pod.call(body=b"next").body, b"next", "the next answer")


@check_of("lambda")
def answers_an_error_and_logs_its_trace(runner):
    with runner.pod() as pod:
        answer = ask(pod, [("X-Call-Id", "fails")], do="fail")
        equal((answer.status, answer.headers["x-function-error"]), (500, "ValueError"), "answer")
        equal(answer.headers["x-amz-function-error"], "Unhandled", "X-Amz-Function-Error")
        equal(
            answer.json(), {"code": "function_failed", "message": "ValueError: asked to fail", "component": "function",
                            "call": "fails"}, "body")
        eventually(lambda: any(frame.get("level") == "error" for frame in pod.frames), "the record")
        record = next(frame for frame in pod.frames if frame.get("level") == "error")
        equal((record["call"], record["fields"]["traceback"]), ("fails", "  line 1\n  line 2\n"), "record")
        told = ask(pod, [INVOKE], do="fail").json()
        equal((told["errorType"], told["stackTrace"]), ("ValueError", ["  line 1\n", "  line 2\n"]), "error as Lambda's")
        equal(pod.call(body=b"alive").body, b"alive", "the next answer")


@check_of("lambda")
def bounds_a_result_that_is_not_streamed(runner):
    limit = 6 * 1024 * 1024 + 100
    with runner.pod() as pod:
        equal(len(ask(pod, do="large", bytes=limit).body), limit, "bytes at the limit")
        answer = ask(pod, do="large", bytes=limit + 1)
        equal((answer.status, answer.headers["x-function-error"]), (500, "Function.ResponseSizeTooLarge"), "over it")
        equal(pod.call(body=b"alive").body, b"alive", "the next answer")


@check_of("lambda")
def streams_a_result_as_it_comes(runner):
    with runner.pod() as pod:
        client = pod.client()
        client.send(request(body=b'{"do":"stream"}'))
        status, headers = client.head()
        equal((status, headers.get("transfer-encoding"), headers.get("content-type")), (200, "chunked", "text/plain"), "head")
        size, began, last = 0, time.monotonic(), 0.0
        while piece := client.chunk():
            size += len(piece)
            last = last or (time.monotonic() if size >= 1_400_000 else 0.0)
        equal(size, 1_400_007, "bytes")
        expect(0 < last and time.monotonic() - last > 0.2, f"the pieces came together, {time.monotonic() - began:.3f} s")


@check_of("lambda")
def cuts_a_stream_that_fails(runner):
    with runner.pod() as pod:
        client = pod.client()
        client.send(request(body=b'{"do":"stream-fails"}', headers=[("X-Call-Id", "fails")]))
        equal((client.head()[0], client.chunk()), (200, b"begun"), "what came before")
        expect(client.cut(), "a stream that failed came to an orderly end")
        eventually(lambda: any(frame.get("level") == "error" for frame in pod.frames), "the record")
        record = next(frame for frame in pod.frames if frame.get("level") == "error")
        equal((record["call"], record["msg"]), ("fails", "Oops: half way"), "record")
        equal(pod.call(body=b"alive").body, b"alive", "the next answer")


@check_of("lambda")
def turns_the_head_of_an_http_answer_into_one(runner):
    with runner.pod() as pod:
        answer = ask(pod, do="http")
        equal((answer.status, answer.headers["content-type"], answer.headers["x-pot"]), (418, "text/x-tea", "yes"), "head")
        equal(answer.body, b"short and stout", "body")
        expect("a=1" in answer.headers["set-cookie"] or "b=2" in answer.headers["set-cookie"], "cookies")


@check_of("lambda")
def runs_as_many_at_once_as_the_function_may(runner):
    with runner.pod(concurrency=4) as pod:
        equal(ask(pod, do="environment").json()["AWS_LAMBDA_MAX_CONCURRENCY"], "4", "AWS_LAMBDA_MAX_CONCURRENCY")
        clients = [pod.client() for _ in range(4)]
        began = time.monotonic()
        for client in clients:
            client.send(request(body=b'{"do":"sleep","ms":400}'))
        for client in clients:
            equal(client.answer().body, b"slept", "answer")
        expect(time.monotonic() - began < 0.8, "they ran one after the other")
        for number in range(3):
            ask(pod, [("X-Call-Id", f"print-{number}")], do="print")
        eventually(lambda: len([f for f in pod.frames if "line" in f]) >= 18, "lines under their calls")
        for number in range(3):
            lines = [f["line"] for f in pod.frames if f.get("call") == f"print-{number}" and f["stream"] == "stdout"]
            equal(lines, [f"print-{number} line {index}" for index in range(5)], "lines of a call")


@check_of("lambda")
def puts_what_is_printed_under_its_call(runner):
    with runner.pod() as pod:
        for number in range(20):
            ask(pod, [("X-Call-Id", f"call-{number}")], do="print")
        eventually(lambda: len([f for f in pod.frames if "line" in f]) >= 120, "120 lines")
        for number in range(20):
            lines = [f["line"] for f in pod.frames if f.get("call") == f"call-{number}"]
            equal(len(lines), 6, "lines of a call")
            expect(all(line.startswith(f"call-{number} ") for line in lines), f"lines of another call: {lines}")
        expect(b"starting" in pod.text, "what was printed at the start is not the pod's own output")


@check_of("lambda")
def puts_the_end_of_a_call_s_output_under_no_other(runner):
    with runner.pod() as pod:
        for number in range(5):
            ask(pod, [("X-Call-Id", f"tail-{number}")], do="tail")
        eventually(lambda: len([f for f in pod.frames if "line" in f]) >= 10, "ten lines")
        for number in range(5):
            lines = [f["line"] for f in pod.frames if f.get("call") == f"tail-{number}"]
            equal(lines, [f"tail-{number} begins", f"tail-{number} tail"], "lines of a call")
        clients = [pod.client() for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(request(body=b'{"do":"late"}', headers=[("X-Call-Id", f"late-{number}")]))
        for client in clients:
            equal(client.answer().status, 200, "status")
        equal(ask(pod, [("X-Call-Id", "last")], do="tail").status, 200, "status")
        eventually(lambda: any(f.get("line") == "last tail" for f in pod.frames), "the last line")
        wrong = [f for f in pod.frames if " late" in f.get("line", "") and not f["line"].startswith(f["call"])]
        equal(wrong, [], "lines under another call")
    with runner.pod(concurrency=2) as pod:
        client = pod.client()
        client.send(request(body=b'{"do":"sleep","ms":500}', headers=[("X-Call-Id", "line")]))
        ask(pod, [("X-Call-Id", "print-1")], do="print")
        equal(client.answer().body, b"slept", "answer")
        eventually(lambda: len([f for f in pod.frames if f.get("call") == "print-1"]) == 6, "the lines under the longer id")


@check_of("lambda")
def ends_as_its_runtime_ends(runner):
    with runner.pod() as pod:
        answer = ask(pod, do="exit", code=7)
        equal((answer.status, answer.headers["x-function-error"]), (500, "Runtime.ExitError"), "answer")
        expect("exited with status 7" in answer.json()["message"], "the message does not say how it ended")
        equal(pod.wait(), 7, "exit status")


@check_of("lambda")
def fails_to_start_with_a_reason(runner):
    for how, code, reason in (("init", 3, b"Init.Broken"), ("exit", 1, b"cannot go on")):
        with Pod(runner.argv, runner.folder, dict(runner.environment, FAIL=how)) as pod:
            equal(pod.wait(), code, "exit status")
            equal(pod.control, b"", "control byte")
            told = pod.text + json.dumps(pod.frames).encode()
            expect(reason in told, f"the reason is not given: {told!r}")
    with Pod(runner.argv, runner.folder, dict(runner.environment, APUS_COMMAND='["./missing"]')) as pod:
        equal(pod.wait(), 1, "exit status")
        expect(b"missing" in pod.text, f"the reason is not given: {pod.text!r}")


@check_of("lambda")
def finishes_its_call_on_sigterm(runner):
    with runner.pod() as pod:
        client = pod.client()
        client.send(request(body=b'{"do":"sleep","ms":400}'))
        time.sleep(0.15)  # not a wait for something: the call is to be in the middle of its work
        pod.terminate()
        equal(client.answer().body, b"slept", "the running call")
        equal(pod.wait(), 0, "exit status")


@check_of("lambda")
def outlives_a_caller_that_leaves_and_a_result_that_breaks_off(runner):
    with runner.pod() as pod:
        client = pod.client()
        client.send(request(body=b'{"do":"sleep","ms":200}'))
        client.close()
        equal(pod.call(body=b"next").body, b"next", "the next answer")
        answer = ask(pod, do="cut")
        equal((answer.status, answer.headers["x-function-error"]), (500, "Runtime.TruncatedResponse"), "a result cut off")
        equal(pod.call(body=b"alive").body, b"alive", "after it")
