"""The samples: how each runtime is started here, and the cases of each replayed against it."""

import base64
import hashlib
import json
import os
import re
import subprocess

from .pod import FUNCTIONS, Failure, Pod

BUILDS = f"{FUNCTIONS}/.build-check"


def runner_of(runtime, folder, spec, tools):
    """(argv, environment, whether it listens on $PORT) of a function in folder."""
    if runtime == "python":
        return [tools.python, "-I", "-S", f"{FUNCTIONS}/runtimes/python/runner.py"], {"APUS_HANDLER": spec["handler"]}, False
    if runtime == "node":
        return [tools.node, f"{FUNCTIONS}/runtimes/node/runner.mjs"], {"APUS_HANDLER": spec["handler"]}, False
    if runtime == "exec":
        return [tools.exec_runner], {"APUS_COMMAND": json.dumps(spec["command"])}, False
    if runtime == "lambda":
        environment = {"APUS_COMMAND": json.dumps(spec["command"])} if spec["command"] else {}
        return [tools.lambda_bridge], dict(environment, **({"APUS_HANDLER": spec["handler"]} if spec["handler"] else {})), False
    if runtime == "swift":
        return [tools.swift_build(folder)], {}, False
    if runtime == "binary":
        if os.path.exists(f"{folder}/Makefile"):
            subprocess.run(["make", "-s", "-C", folder], check=True)
        return spec["command"], {}, True
    raise Failure(f"no way to run {runtime} here")


class Tools:
    """The programs that run functions here; what has to be built is built once."""

    def __init__(self, python, node, exec_runner, lambda_bridge):
        self.python, self.node, self._exec_runner, self._lambda_bridge = python, node, exec_runner, lambda_bridge

    @property
    def exec_runner(self):
        if self._exec_runner is None:
            self._exec_runner = self._build(f"{FUNCTIONS}/runtime-swift", "runtime-swift", "apus-exec-runner", [])
        return self._exec_runner

    @property
    def lambda_bridge(self):
        if self._lambda_bridge is None:
            self._lambda_bridge = self._build(f"{FUNCTIONS}/runtime-swift", "runtime-swift", "apus-lambda-bridge", [])
        return self._lambda_bridge

    def swift_build(self, folder):
        with open(f"{folder}/Package.swift") as package:
            name = re.search(r'Package\(\s*name: "([^"]+)"', package.read())[1]
        return self._build(folder, name, name, ["--static-swift-stdlib"])

    def _build(self, folder, name, product, options):
        scratch = f"{BUILDS}/{name}"
        done = subprocess.run(
            ["swift", "build", "--package-path", folder, "-c", "release", "--scratch-path", scratch, *options],
            env=dict(os.environ, APUS_RUNTIME_SWIFT=f"{FUNCTIONS}/runtime-swift"), capture_output=True, text=True,
        )
        if done.returncode != 0:
            raise Failure(f"building {name} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        return f"{scratch}/release/{product}"


def manifest(folder):
    """The few fields of a sample's function.yaml that are needed here, read without a YAML library."""
    spec = {"handler": None, "command": None, "runtime": None, "concurrency": "1", "env": {}}
    with open(f"{folder}/function.yaml") as file:
        for line in file:
            if found := re.match(r"  (runtime|handler|concurrency): *(\S+)", line):
                spec[found[1]] = found[2]
            elif found := re.match(r"  command: *(\[.*\])", line):
                spec["command"] = json.loads(found[1])
            elif found := re.match(r"  env: *\{(.*)\}", line):
                pairs = (pair.split(":", 1) for pair in found[1].split(","))
                spec["env"] = {name.strip(): value.strip().strip('"') for name, value in pairs}
    return spec


def body_of(wanted, cases):
    """The bytes of a case's request body."""
    if "body" in wanted:
        return wanted["body"].encode()
    if "bodyBase64" in wanted:
        return base64.b64decode(wanted["bodyBase64"], validate=True)
    if "bodyFile" in wanted:
        with open(f"{cases}/{wanted['bodyFile']}", "rb") as file:
            return file.read()
    if "bodyRepeat" in wanted:
        text, count = wanted["bodyRepeat"]["text"].encode(), wanted["bodyRepeat"]["bytes"]
        return (text * (count // len(text) + 1))[:count]
    return b""


def compare(expect, answer):
    """What is different from what was expected; an empty list when nothing is."""
    wrong = []
    shown = answer.body[:300]
    if answer.status != expect["status"]:
        wrong.append(f"status {answer.status}, not {expect['status']}: {shown!r}")
    if "body" in expect and answer.body != expect["body"].encode():
        wrong.append(f"body {shown!r}, not {expect['body'][:300]!r}")
    if "bodySHA256" in expect and hashlib.sha256(answer.body).hexdigest() != expect["bodySHA256"]:
        wrong.append(f"SHA-256 of the body differs: {len(answer.body)} bytes, {shown!r}")
    if "bodyJSON" in expect:
        try:
            if answer.json() != expect["bodyJSON"]:
                wrong.append(f"JSON {shown!r}, not {json.dumps(expect['bodyJSON'])[:300]}")
        except ValueError:
            wrong.append(f"no JSON: {shown!r}")
    texts = expect.get("bodyContains", [])
    for text in [texts] if isinstance(texts, str) else texts:
        if text.encode() not in answer.body:
            wrong.append(f"the body lacks {text!r}: {shown!r}")
    for name, value in expect.get("headers", {}).items():
        if answer.headers.get(name.lower()) != value:
            wrong.append(f"header {name}: {answer.headers.get(name.lower())!r}, not {value!r}")
    return wrong


def replay(name, tools, report):
    """Runs every case of a sample, all against one pod."""
    folder = f"{FUNCTIONS}/samples/{name}"
    spec = manifest(folder)
    try:
        argv, environment, port = runner_of(spec["runtime"], folder, spec, tools)
        pod = Pod(argv, folder, dict(environment, **spec["env"]), int(spec["concurrency"]), port)
    except (Failure, OSError, subprocess.SubprocessError) as error:
        return report(f"{name}: starts", str(error))
    with pod:
        try:
            pod.ready()
        except Failure as error:
            return report(f"{name}: starts", str(error))
        cases = f"{folder}/cases"
        for file in sorted(os.listdir(cases)):
            if not file.endswith(".json"):
                continue
            with open(f"{cases}/{file}", encoding="utf-8") as text:
                case = json.load(text)
            wanted = case["request"]
            path = wanted.get("path", "/") + (f"?{wanted['query']}" if wanted.get("query") else "")
            try:
                answer = pod.call(
                    wanted.get("method", "POST"), path, body_of(wanted, cases), list(wanted.get("headers", {}).items()))
                report(f"{name}: {case['name']}", "; ".join(compare(case["expect"], answer)))
            except (Failure, OSError) as error:
                report(f"{name}: {case['name']}", str(error) or repr(error))
        report(f"{name}: its frames are whole", "; ".join(pod.frame_errors))
