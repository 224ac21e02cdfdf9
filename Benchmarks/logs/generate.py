#!/usr/bin/env python3
"""Writes the log lines of many serverless functions as flat JSON, one object a line: the same bytes for the same arguments.

usage: Benchmarks/logs/generate.py [--lines N] [--seed S] [--functions F] [--span-hours H] [--base-ns T] [--late] [--out FILE]
       Benchmarks/logs/generate.py --check

Functions are used unevenly (Zipf), each has a kind (http, queue, cron, stream, auth, ml), a runtime, a version that is
bumped now and then, and one to eight pods that come and go. A call has a request id and writes two to nine lines: START, what
the function says (of 300 templates with ids, durations, paths, hashes), its failure with a stack in some of 3 % of the calls,
an access line with fields, REPORT. Calls arrive at a rate that rises, falls and bursts; lines are in the order of their times,
or, with --late, 3 % of them up to 2 s late.

What was written is told on standard error with the SHA-256 of its bytes; --check compares the sums of short runs with those
that are kept here.
"""
import argparse
import bisect
import hashlib
import heapq
import math
import random
import sys
import time

# 2026-11-20T00:00:00Z
BASE_NS = 1_795_132_800 * 10**9
SECOND_NS = 10**9
CHUNK_LINES = 20_000
# Lines of a call, on average: with it the calls of a run fill its span.
LINES_PER_CALL = 4.85

THINGS = """order payment cart user invoice shipment catalog search session profile email image report inventory coupon review
 webhook token audit pricing geo fraud wallet refund feed chat media export import billing quota tenant""".split()
DEEDS = """create update delete fetch list sync resize render validate charge notify index rank score merge export archive
 enrich dispatch replay expire verify""".split()
RUNTIMES = ["swift-6.1", "node-22", "python-3.13", "go-1.26", "java-21"]
KINDS = ["http", "http", "http", "http", "queue", "queue", "cron", "stream", "auth", "ml"]
REGIONS = ["eu-west-1", "us-east-1", "ap-south-1"]
METHODS = ["GET"] * 12 + ["POST"] * 6 + ["PUT"] * 2 + ["DELETE", "PATCH"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "okhttp/5.0.0", "curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0", "axios/1.7.9", "kube-probe/1.33",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15",
]
ERRORS = [
    "connection refused", "connection reset by peer", "i/o timeout", "context deadline exceeded", "no such host",
    "TLS handshake timeout", "broken pipe", "too many open files", "permission denied", "unexpected EOF",
    "database is locked", "duplicate key value violates unique constraint", "deadlock detected", "out of memory",
    "invalid JSON: unexpected token '<' at position 0", "certificate has expired", "rate limit exceeded",
    "upstream returned 503 Service Unavailable",
]
HOSTS = [
    "db-primary.internal:5432", "redis-0.cache:6379", "kafka-2.broker:9092", "s3.eu-west-1.local:443", "auth.internal:8443",
    "payments.partner.example:443", "search-1.internal:9200", "smtp.relay.example:587",
]
TABLES = "orders order_items users sessions payments events inventory audit_log coupons shipments".split()
TOPICS = "orders.created orders.paid users.signup mail.out events.raw image.resize ledger.entry search.reindex".split()
EXCEPTIONS = """TimeoutError ValueError KeyError ConnectionError NullPointerException IllegalStateException DecodingError
 TypeError""".split()
MODULES = "handler router service repository client middleware codec pool scheduler cache".split()
METHOD_NAMES = "handle dispatch invoke execute fetchOne decode acquire retry commit serialize lookup apply".split()
PROVIDERS = ("google", "github", "acme", "stripe", "partner")
STATUSES = ("200", "200", "200", "201", "204", "404", "500")
# Letters of a pod's name: none that make words.
POD_LETTERS = "bcdfghjklmnpqrstvwxz2456789"

# Level and text; in braces the names of Generator.values.
TEMPLATES = [
    ("info", "Processing order {oid} for user {uid} total {money} EUR"),
    ("info", "Order {oid} persisted in {ms} ms ({n} items)"),
    ("info", "User {uid} authenticated via {prov} from {ip}"),
    ("debug", "cache hit key={key} ttl={n}s"),
    ("debug", "cache miss key={key}, loading from {host}"),
    ("info", "Published message {hex16} to topic {topic} partition {p} offset {off}"),
    ("info", "Consumed batch of {n} messages from {topic} lag={off}"),
    ("debug", "SELECT * FROM {table} WHERE id = {off} took {ms} ms"),
    ("debug", "UPDATE {table} SET updated_at = now() WHERE id = {off}; rows={p}; {ms} ms"),
    ("warn", "Slow query on {table}: {bigms} ms (threshold 250 ms), plan hash {hex16}"),
    ("warn", "Retrying call to {host} (attempt {p}/5) after {bigms}ms: {err}"),
    ("warn", "Memory usage at {pct}% of limit {mem} MB"),
    ("warn", "Deprecated API version v{p} used by client {ip}"),
    ("error", "Failed to connect to {host}: {err}"),
    ("error", "Payment {oid} declined for user {uid}: code={n} reason={err}"),
    ("error", "Unhandled rejection while processing {oid}: {err}"),
    ("error", "request to {host} failed, timeout after {bigms}ms"),
    ("info", "Uploaded object {path} ({off} bytes, etag {hex32}) in {ms} ms"),
    ("info", "Downloaded {path} from {host} in {ms} ms status={st}"),
    ("info", "Sent email to {mail} template={key} provider message id {hex32}"),
    ("info", "Resized image {path} {n}x{n2} -> {p}x{n} quality={pct}"),
    ("debug", "feature flag {key} evaluated to {bool} for {uid}"),
    ("info", "JWT validated sub={uid} iss=https://auth.internal exp={off}"),
    ("warn", "JWT rejected: token expired {n}s ago for {uid} ip={ip}"),
    ("info", "Scheduled job tick seq={off} drift={ms}ms"),
    ("info", "Checkpoint written at offset {off} for shard {p} sequence {hex16}"),
    ("debug", "decoded payload of {off} bytes in {ms} ms schema={key}"),
    ("info", "Model inference finished label={key} score=0.{off} latency={ms} ms"),
    ("debug", "pool stats active={p} idle={n} waiters={p} max={n2}"),
    ("info", "webhook delivered to https://{prov}.example/hooks/{hex16} status={st} in {ms} ms"),
    ("warn", "webhook delivery to https://{prov}.example/hooks/{hex16} failed status={st}, scheduling retry {p}"),
    ("info", "rate limiter bucket={ip} remaining={n} reset={p}s"),
    ("debug", "span finished name={key} duration_us={off}"),
    ("info", "session {hex32} created for {uid} ttl={n2}s"),
    ("info", "session {hex32} revoked by {uid}"),
    ("debug", "geo lookup {ip} -> {region} in {ms} ms"),
    ("info", "ledger entry {off} debit={money} credit={money} ref={oid}"),
    ("warn", "inventory for sku SKU-{off} below threshold: {p} left"),
    ("info", "search query='{key} {key}' hits={off} took={ms}ms"),
    ("debug", "GC pause {ms} ms heap {mem} MB -> {n} MB"),
]
# A function without errors or warnings of its own has these.
ANY_ERROR, ANY_WARNING = TEMPLATES[13][1], TEMPLATES[10][1]
# Of these the other templates are made, for a thing and a deed.
PATTERNS = [
    ("debug", "{thing}: {deed} started for {{uid}} correlation {{hex16}}"),
    ("info", "{thing} {deed} completed in {{ms}} ms, {{n}} records"),
    ("info", "{thing}.{deed} id={{oid}} state=done elapsed={{ms}}ms"),
    ("debug", "{thing} {deed}: step {{p}} of 7 finished, buffer {{off}} bytes"),
    ("info", "[{thing}] {deed} {{path}} -> {{st}} ({{ms}} ms)"),
    ("warn", "[{thing}] {deed} is slow: {{bigms}} ms for {{uid}}"),
    ("error", "[{thing}] {deed} failed for {{oid}}: {{err}}"),
    ("debug", "{thing}/{deed} payload digest sha256:{{hex32}} size {{off}}"),
]
TEMPLATE_COUNT = 300

# SHA-256 of short runs by their arguments: lines, seed, functions, hours, late.
SUMS = {
    (20_000, 1, 200, 6.0, False): "11ee30278b58287811ea630484d9da2b1e027eb396bdd25f7c0d206fa6c56fa9",
    (20_000, 7, 200, 0.5, True): "b7e42eac27e5f81bc3469a9206281003ddedf3521e4b9649ec6319ac3d80833a",
    (5_000, 3, 12, 48.0, False): "9a1c8e3106975fab0e5eeabacbb38bc396e88d72f063311704cb4c298f97a581",
}


def templates(draw):
    """All templates: those above, and the patterns with drawn things and deeds."""
    made, seen = list(TEMPLATES), set()
    while len(made) < TEMPLATE_COUNT:
        thing, deed = draw.choice(THINGS), draw.choice(DEEDS)
        number = draw.randrange(len(PATTERNS))
        if (thing, deed, number) not in seen:
            seen.add((thing, deed, number))
            level, pattern = PATTERNS[number]
            made.append((level, pattern.format(thing=thing, deed=deed)))
    return made


def escaped(text):
    """The text as it stands in a JSON string; there is nothing in it but these to escape."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


class Generator:
    """Lines from one seed. The order of draws is what makes the bytes the same: nothing here may be drawn earlier or later."""

    def __init__(self, seed, functions, span_hours):
        self.draw = random.Random(seed)
        self.chance = self.draw.random
        draw = self.draw
        self.span = int(span_hours * 3600 * 1e9)
        self.templates = templates(draw)
        self.users = ["u-%06d" % draw.randrange(1_000_000) for _ in range(20_000)]
        self.addresses = [
            "%d.%d.%d.%d" % (draw.choice([10, 34, 52, 81, 185, 203]), draw.randrange(256), draw.randrange(256),
                             draw.randrange(1, 255))
            for _ in range(8_000)]
        self.keys = [f"{thing}_{deed}" for thing in THINGS for deed in DEEDS]
        self.paths = []
        for thing in THINGS:
            self.paths += [f"/api/v{version}/{thing}s" for version in (1, 2)]
            self.paths += [f"/api/v2/{thing}s/{{id}}", f"/api/v2/{thing}s/{{id}}/items", f"/{thing}/health"]
        self.functions, shares, names = [], [], set()
        while len(self.functions) < functions:
            number = len(self.functions)
            name = f"{draw.choice(THINGS)}-{draw.choice(DEEDS)}"
            if name in names:
                name += f"-{number % 7}"
            if name in names:
                continue
            names.add(name)
            self.functions.append(self.function(name, number))
            shares.append(1.0 / (number + 2) ** 1.05)
        total, sum_ = sum(shares), 0.0
        self.cumulative = []
        for share in shares:
            sum_ += share / total
            self.cumulative.append(sum_)
        self.values = self.makers()
        self.parts = {}

    def function(self, name, number):
        """One function: what it says, how often it fails, how long it takes."""
        draw = self.draw
        kind = draw.choice(KINDS)
        texts = {"debug": [], "info": [], "warn": [], "error": []}
        for index in draw.sample(range(len(self.templates)), 14):
            level, text = self.templates[index]
            texts[level].append(text)
        texts["error"] = texts["error"] or [ANY_ERROR]
        texts["warn"] = texts["warn"] or [ANY_WARNING]
        function = {
            "name": name, "kind": kind, "runtime": draw.choice(RUNTIMES), "texts": texts, "version": 1 + draw.randrange(40),
            "pods": [], "mu": math.log(draw.choice([3, 8, 20, 45, 120, 400])), "sigma": 0.4 + draw.random() * 0.8,
            "memory": draw.choice([128, 256, 512, 1024]), "paths": draw.sample(self.paths, 4),
            "failing": 0.005 + 0.05 * draw.random() ** 3, "debug": draw.random() < 0.4, "region": draw.choice(REGIONS),
            "pods_max": max(1, min(8, int(20 / (number + 1)) + 1)),
        }
        function["stacks"] = [self.stack(function) for _ in range(6)]
        return function

    def makers(self):
        """What makes each variable of a template."""
        draw, chance = self.draw, self.chance

        def one(choices, bias=1.0):
            return choices[int(chance() ** bias * len(choices))]

        return {
            "oid": lambda: "ord_%08x" % draw.getrandbits(32),
            "uid": lambda: self.users[int(chance() ** 2 * 20_000)],
            "money": lambda: "%.2f" % math.exp(draw.gauss(3.5, 1)),
            "ms": lambda: str(int(math.exp(draw.gauss(2.2, 1.1))) + 1),
            "bigms": lambda: str(250 + int(math.exp(draw.gauss(6, 1)))),
            "n": lambda: str(int(chance() * 500)),
            "n2": lambda: str(int(chance() * 4000) + 100),
            "p": lambda: str(int(chance() * 8)),
            "off": lambda: str(int(math.exp(chance() * 16))),
            "ip": lambda: self.addresses[int(chance() ** 2 * 8_000)],
            "hex16": lambda: "%016x" % draw.getrandbits(64),
            "hex32": lambda: "%032x" % draw.getrandbits(128),
            "key": lambda: self.keys[int(chance() ** 2 * len(self.keys))],
            "host": lambda: one(HOSTS),
            "topic": lambda: one(TOPICS),
            "table": lambda: one(TABLES),
            "err": lambda: one(ERRORS, 1.5),
            "pct": lambda: str(60 + int(chance() * 40)),
            "mem": lambda: str(128 << int(chance() * 4)),
            "prov": lambda: one(PROVIDERS),
            "path": lambda: self.path(one(self.paths)),
            "st": lambda: one(STATUSES),
            "mail": lambda: self.users[int(chance() * 20_000)] + "@example.com",
            "bool": lambda: "true" if chance() < 0.7 else "false",
            "region": lambda: one(REGIONS),
        }

    def path(self, pattern):
        return pattern.replace("{id}", str(int(self.chance() * 1e6))) if "{" in pattern else pattern

    def stack(self, function):
        """A stack trace in the manner of the function's runtime."""
        draw, frames = self.draw, []
        name, runtime = function["name"], function["runtime"]
        for number in range(4 + draw.randrange(6)):
            module, method, line = draw.choice(MODULES), draw.choice(METHOD_NAMES), draw.randrange(10, 600)
            if runtime.startswith("java"):
                package = name.replace("-", "")
                frames.append(f"\tat com.acme.{package}.{module}.{method}({module.capitalize()}.java:{line})")
            elif runtime.startswith("python"):
                frames.append(f'  File "/app/{name.replace("-", "_")}/{module}.py", line {line}, in {method}')
            elif runtime.startswith("node"):
                frames.append(f"    at {method} (/var/task/{name}/{module}.js:{line}:{draw.randrange(2, 60)})")
            else:
                frames.append(f"{number}  {name}.{module}.{method} + {line}")
        return "\n".join(frames)

    def text(self, template):
        """The template with its variables drawn."""
        parts = self.parts.get(template)
        if parts is None:
            pieces = template.replace("}", "{").split("{")
            parts = [self.values[piece] if index % 2 else piece for index, piece in enumerate(pieces)]
            self.parts[template] = parts
        return "".join([part if part.__class__ is str else part() for part in parts])

    def pod(self, function, now):
        """The pod that takes a call, and whether it is new."""
        pods = function["pods"]
        if pods and pods[0][1] <= now:
            pods[:] = [pod for pod in pods if pod[1] > now]
        if len(pods) < function["pods_max"] and (not pods or self.chance() < 0.02):
            letters = "".join(self.draw.choices(POD_LETTERS, k=5))
            name = "%s-%010x-%s" % (function["name"], (function["version"] * 2654435761) & 0xFFFFFFFF, letters)
            pods.append((name, now + int(self.draw.expovariate(1 / 1500e9)) + 30 * SECOND_NS))
            return name, True
        return pods[int(self.chance() * len(pods))][0], False

    def request_id(self):
        digits = "%032x" % self.draw.getrandbits(128)
        variant = "89ab"[int(self.chance() * 4)]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def call(self, now):
        """The lines of one call: pairs of time and text."""
        draw, chance = self.draw, self.chance
        function = self.functions[bisect.bisect_left(self.cumulative, chance())]
        if chance() < 2e-5:
            function["version"] += 1
            function["pods"].clear()
        pod, cold = self.pod(function, now)
        request = self.request_id()
        took = math.exp(draw.gauss(function["mu"], function["sigma"])) + (draw.random() * 180 + 40 if cold else 0)
        failed = chance() < function["failing"]
        if failed and chance() < 0.3:
            took += 3000 * chance()
        took_ns = int(took * 1e6)
        version, memory = function["version"], function["memory"]
        head = (f'","function":"{function["name"]}","version":{version},"pod":"{pod}","request_id":"{request}","message":"')
        lines = []

        def line(at, level, message, fields=""):
            lines.append((at, f'{{"ts":{at},"level":"{level}{head}{escaped(message)}"{fields}}}'))

        if cold:
            line(now, "info", f"INIT_START runtime={function['runtime']} region={function['region']} memory={memory}MB")
        line(now + 20_000, "info", f"START RequestId: {request} Version: {version}")
        self.say(function, now, took_ns, line)
        if failed:
            line(now + took_ns - 20_000, "error", self.failure(function))
        kind = function["kind"]
        if kind in ("http", "auth", "ml"):
            self.access(function, now + took_ns + 40_000, took, failed, line)
        if kind != "http" or chance() < 0.5:
            report = f"Duration: {took:.2f} ms Billed Duration: {math.ceil(took)} ms Memory Size: {memory} MB"
            used = int(memory * (0.3 + 0.5 * chance()))
            line(now + took_ns + 60_000, "info", f"REPORT RequestId: {request} {report}",
                 f',"duration_ms":{took:.3f},"mem_mb":{used},"cold":{"true" if cold else "false"}')
        return lines

    def say(self, function, now, took_ns, line):
        """What the function itself says during a call."""
        chance, texts = self.chance, function["texts"]
        count = min(6, 1 + int(self.draw.expovariate(0.55)))
        for number in range(count):
            drawn = chance()
            level = "debug" if function["debug"] and drawn < 0.35 and texts["debug"] else "warn" if drawn > 0.97 else "info"
            choices = texts[level] or texts["info"] or texts["debug"] or texts["warn"]
            at = now + 30_000 + int(took_ns * (number + chance()) / (count + 1))
            line(at, level, self.text(choices[int(chance() * len(choices))]))

    def failure(self, function):
        """The message of a call that failed, six in ten with a stack."""
        chance, texts = self.chance, function["texts"]["error"]
        error = ERRORS[int(chance() ** 1.5 * len(ERRORS))]
        message = self.text(texts[int(chance() * len(texts))])
        if chance() >= 0.6:
            return message
        if chance() < 0.5:
            message = f"{EXCEPTIONS[int(chance() * len(EXCEPTIONS))]}: {error}"
        return f"{message}\n{function['stacks'][int(chance() * 6)]}"

    def access(self, function, at, took, failed, line):
        """The access line of a call over HTTP."""
        chance = self.chance
        if failed:
            status = 500 + int(chance() * 5)
        else:
            status = 200 if chance() < 0.9 else (201, 204, 301, 400, 401, 404, 429)[int(chance() * 7)]
        method = METHODS[int(chance() * len(METHODS))]
        path = self.path(function["paths"][int(chance() ** 1.5 * 4)])
        size = int(math.exp(self.draw.gauss(7, 1.5)))
        address = self.addresses[int(chance() ** 2 * 8_000)]
        agent = AGENTS[int(chance() ** 1.5 * len(AGENTS))]
        line(at, "error" if status >= 500 else "warn" if status >= 400 else "info", f"{method} {path} {status}",
             f',"method":"{method}","path":"{path}","status":{status},"duration_ms":{took:.3f},"bytes":{size},'
             f'"remote_ip":"{address}","user_agent":"{agent}"')

    def lines(self, count, base_ns=BASE_NS, late=False):
        """That many lines, each without its newline."""
        draw, chance = self.draw, self.chance
        mean_gap = self.span / (count / LINES_PER_CALL)
        now, waiting, given, order = base_ns, [], 0, 0
        while given < count:
            part = (now - base_ns) / self.span
            burst = 1.5 if (now // (600 * SECOND_NS)) % 17 == 3 else 0
            rate = 1 + 0.5 * math.sin(part * 2 * math.pi * 3) + burst
            now += int(draw.expovariate(1) * mean_gap / (rate / 1.09)) + 1
            for at, line in self.call(now):
                if late and chance() < 0.03:
                    at += int(chance() * 2e9)
                order += 1
                heapq.heappush(waiting, (at, order, line))
            while waiting and waiting[0][0] <= now and given < count:
                yield heapq.heappop(waiting)[2]
                given += 1

    def chunks(self, count, base_ns=BASE_NS, late=False):
        """The same as bytes, many lines at once."""
        chunk = []
        for line in self.lines(count, base_ns, late):
            chunk.append(line)
            if len(chunk) == CHUNK_LINES:
                yield ("\n".join(chunk) + "\n").encode()
                chunk.clear()
        if chunk:
            yield ("\n".join(chunk) + "\n").encode()


def write(file, lines, seed=1, functions=200, span_hours=6.0, base_ns=BASE_NS, late=False):
    """Writes lines to a binary file; how many bytes they are, and their SHA-256."""
    size, sum_ = 0, hashlib.sha256()
    for chunk in Generator(seed, functions, span_hours).chunks(lines, base_ns, late):
        file.write(chunk)
        sum_.update(chunk)
        size += len(chunk)
    return size, sum_.hexdigest()


class Nowhere:
    """Takes bytes and keeps none."""

    def write(self, data):
        return len(data)


def check():
    """Ends with an error when a short run is not what it was."""
    for (lines, seed, functions, hours, late), kept in SUMS.items():
        _, found = write(Nowhere(), lines, seed, functions, hours, late=late)
        print(f"lines={lines} seed={seed} functions={functions} span-hours={hours} late={late} sha256={found}")
        if found != kept:
            sys.exit(f"error: the lines have changed: {kept} is expected")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lines", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--functions", type=int, default=200)
    options.add_argument("--span-hours", type=float, default=6.0)
    options.add_argument("--base-ns", type=int, default=BASE_NS)
    options.add_argument("--late", action="store_true", help="3%% of the lines come up to 2 s late")
    options.add_argument("--out", default="-")
    options.add_argument("--check", action="store_true", help="compare the sums of short runs with those kept")
    chosen = options.parse_args()
    if chosen.check:
        check()
        return
    start = time.monotonic()
    with (sys.stdout.buffer if chosen.out == "-" else open(chosen.out, "wb")) as file:
        size, sum_ = write(file, chosen.lines, chosen.seed, chosen.functions, chosen.span_hours, chosen.base_ns, chosen.late)
    print(f"lines={chosen.lines} bytes={size} sha256={sum_} {time.monotonic() - start:.1f}s", file=sys.stderr)


if __name__ == "__main__":
    main()
