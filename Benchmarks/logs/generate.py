#!/usr/bin/env python3
"""Writes log records as functions of a busy shop would: NDJSON in the log schema, the same for the same arguments.

usage: Benchmarks/logs/generate.py --lines N [--seed S] [--base-ns T] [--span-hours H] > FILE

Calls arrive at varying speed over the span. Each has its id and writes a handful of records: what its function says (of
some 150 message templates with ids, durations, addresses), its failure with a stack now and then, and an access record.
Functions are used unevenly (the r-th 1/r as often), as are users, paths and errors.
"""
import argparse
import bisect
import heapq
import itertools
import json
import math
import random
import sys
import time

# 2026-01-01T00:00:00Z
BASE_NS = 1_767_225_600_000_000_000
THINGS = "order payment cart invoice user session coupon shipment refund catalog review search price stock".split()
DEEDS = "create update resize index validate notify sync charge fetch render export score".split()
HOSTS = ["db-1.internal:5432", "cache-2.internal:6379", "queue.internal:5672", "mail.example:587", "pay.example:443"]
ERRORS = ["connection refused", "connection reset by peer", "deadline exceeded", "card declined", "no such key",
          "permission denied", "too many requests", "invalid JSON at offset 17"]
AGENTS = ["curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
          "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15", "okhttp/4.12.0"]
PATTERNS = [
    ("info", "{thing} {order} {deed} done in {ms} ms ({n} items)"),
    ("info", "{deed} {thing} for user {user} total {money} EUR"),
    ("info", "published message {hex} to topic {thing}-events partition {digit} offset {big}"),
    ("info", "uploaded object /{thing}/{big} ({big} bytes, etag {hex}{hex}) in {ms} ms"),
    ("debug", "cache miss key={thing}:{n}, loading from {host}"),
    ("debug", "SELECT * FROM {thing}s WHERE id = {big} took {ms} ms"),
    ("debug", "decoded {thing} payload of {big} bytes in {ms} ms"),
    ("warn", "{deed} {thing} is slow: {slow} ms (threshold 250 ms), plan {hex}"),
    ("warn", "retrying {deed} {thing} at {host} (attempt {digit}/5) after {slow}ms: {error}"),
    ("warn", "deprecated API v{digit} of {thing} used by {address}"),
    ("error", "failed to {deed} {thing} {order} at {host}: {error}"),
    ("error", "{thing} {order} declined for user {user}: code={n} reason={error}"),
]
LEVELS = {"debug": 0.2, "warn": 0.05}


class Function:
    """One function: its share of the traffic, its messages, how long it takes."""

    def __init__(self, random, rank, name):
        self.name = name
        self.median_ms = random.choice([3, 8, 20, 45, 120, 400])
        self.failing = 0.005 + 0.05 * random.random() ** 3
        self.revision = random.randrange(1, 40)
        self.pods = [
            f"{name}-{self.revision:05d}-{''.join(random.choices('bcdfghjklmnpqrstvwxz2456789', k=5))}"
            for _ in range(max(1, 8 // rank))]
        self.messages = {level: [] for level in ("debug", "info", "warn", "error")}
        for level, pattern in PATTERNS:
            for _ in range(1 + (level == "info")):
                text = pattern.replace("{thing}", random.choice(THINGS)).replace("{deed}", random.choice(DEEDS))
                self.messages[level].append(text)
        self.stack = [
            f'  File "/code/{random.choice(THINGS)}.py", line {random.randrange(10, 600)}, in {random.choice(DEEDS)}'
            for _ in range(random.randrange(3, 8))]
        self.paths = [f"/api/v{random.randrange(1, 3)}/{random.choice(THINGS)}s" for _ in range(4)]


class Generator:
    """Records in the order of their times, from one seed."""

    def __init__(self, seed, functions=200):
        self.random = random.Random(seed)
        chance = self.random.random
        names = [f"{thing}-{deed}" for thing in THINGS for deed in DEEDS]
        names += [f"{name}-v2" for name in names]
        self.random.shuffle(names)
        self.functions = [Function(self.random, rank, name) for rank, name in enumerate(names[:functions], 1)]
        self.cumulative = list(itertools.accumulate(1 / rank for rank in range(1, functions + 1)))
        self.users = [f"u-{self.random.randrange(1_000_000):06d}" for _ in range(20_000)]
        self.addresses = [f"10.{self.random.randrange(256)}.{self.random.randrange(256)}.{self.random.randrange(1, 255)}"
                          for _ in range(8_000)]
        gauss, bits = self.random.gauss, self.random.getrandbits
        self.values = {
            "order": lambda: f"ord_{bits(32):08x}", "user": lambda: self.users[int(chance() ** 2 * 20_000)],
            "money": lambda: f"{math.exp(gauss(3.5, 1)):.2f}", "ms": lambda: str(int(math.exp(gauss(2.2, 1.1))) + 1),
            "slow": lambda: str(250 + int(math.exp(gauss(6, 1)))), "n": lambda: str(int(chance() * 500)),
            "digit": lambda: str(int(chance() * 8)), "big": lambda: str(int(math.exp(chance() * 16))),
            "hex": lambda: f"{bits(64):016x}", "host": lambda: HOSTS[int(chance() * len(HOSTS))],
            "error": lambda: ERRORS[int(chance() ** 1.5 * len(ERRORS))],
            "address": lambda: self.addresses[int(chance() ** 2 * 8_000)],
        }
        self.parts = {}

    def text(self, pattern):
        parts = self.parts.get(pattern)
        if parts is None:
            pieces = pattern.replace("}", "{").split("{")
            parts = self.parts[pattern] = [self.values[p] if i % 2 else p for i, p in enumerate(pieces)]
        return "".join(part if part.__class__ is str else part() for part in parts)

    def call(self, start):
        """The records of one call: (time, line) pairs."""
        random, chance = self.random, self.random.random
        function = self.functions[bisect.bisect_left(self.cumulative, chance() * self.cumulative[-1])]
        call = f"{start // 1_000_000 & 0xFFFFFFFFFFFF:012x}"
        tail = random.getrandbits(74)
        call = f"{call[:8]}-{call[8:]}-7{tail >> 62:03x}-{8 + (tail >> 60 & 3):x}{tail >> 48 & 0xFFF:03x}-{tail & 0xFFFFFFFFFFFF:012x}"
        pod = function.pods[int(chance() * len(function.pods))]
        failed = chance() < function.failing
        took = math.exp(random.gauss(math.log(function.median_ms), 0.7)) + (3000 * chance() if failed else 0)
        common = (f'"namespace":"default","function":"{function.name}","revision":"{pod[:-6]}","pod":"{pod}",'
                  f'"node":"worker-{1 + len(pod) % 3}","stream":"')
        out = []

        def record(at, stream, level, message, fields):
            time_ns = int(start + at * 1e6)
            seconds, rest = divmod(time_ns, 1_000_000_000)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            out.append((time_ns, f'{{"time":"{stamp}.{rest:09d}Z",{common}{stream}","level":"{level}","call":"{call}",'
                                 f'"msg":{json.dumps(message)}{fields}}}'))

        count = min(6, 1 + int(random.expovariate(0.5)))
        for number in range(count):
            draw = chance()
            level = "debug" if draw < LEVELS["debug"] else "warn" if draw > 1 - LEVELS["warn"] else "info"
            message = self.text(function.messages[level][int(chance() * len(function.messages[level]))])
            fields = f',"fields":{{"user":"{self.values["user"]()}"}}' if chance() < 0.3 else ""
            record(took * (number + chance()) / (count + 1), "stdout", level, message, fields)
        if failed:
            message = self.text(function.messages["error"][int(chance() * len(function.messages["error"]))])
            record(took * 0.98, "stderr", "error", "\n".join([message, *function.stack]), "")
        status = 500 if failed else 200 if chance() < 0.92 else (201, 204, 400, 404, 429)[int(chance() * 5)]
        path = function.paths[int(chance() ** 1.5 * 4)] + (f"/{int(chance() * 1e6)}" if chance() < 0.5 else "")
        record(took, "access", "error" if failed else "info", f"GET {path} {status} {took:.1f}ms",
               f',"fields":{{"status":{status},"duration_ms":{took:.3f},"bytes_out":{int(math.exp(random.gauss(7, 1.5)))},'
               f'"method":"GET","path":"{path}","client":"{self.values["address"]()}",'
               f'"agent":"{AGENTS[int(chance() ** 1.5 * len(AGENTS))]}"}}')
        return out

    def lines(self, count, base_ns=BASE_NS, span_hours=6.0):
        """That many records, each without its newline."""
        span = span_hours * 3600e9
        gap = span / (count / 3.4)
        now, waiting, given, order = float(base_ns), [], 0, itertools.count()
        while given < count:
            part = (now - base_ns) / span
            now += self.random.expovariate(1) * gap / (1 + 0.5 * math.sin(part * 6 * math.pi)) + 1
            for time_ns, line in self.call(int(now)):
                heapq.heappush(waiting, (time_ns, next(order), line))
            while waiting and waiting[0][0] <= now and given < count:
                yield heapq.heappop(waiting)[2]
                given += 1


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lines", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--base-ns", type=int, default=BASE_NS)
    options.add_argument("--span-hours", type=float, default=6.0)
    chosen = options.parse_args()
    for line in Generator(chosen.seed).lines(chosen.lines, chosen.base_ns, chosen.span_hours):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
