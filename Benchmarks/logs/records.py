#!/usr/bin/env python3
"""Makes records of the log schema of flat JSON lines, and counts meanwhile what queries must find.

Nothing of this is timed. Keys are told by their names (`ts`, `@timestamp`, `message`, `request_id`, …); what is no part of a
record's envelope becomes one of its fields, each value spelled as it was. Numbers that are times count seconds, milliseconds,
microseconds or nanoseconds by how large they are. A line without a time has that of the line before; one that is no JSON
object is a message. Records of the log schema stay what they are, but for the namespace.

usage: Benchmarks/logs/records.py < LINES > RECORDS
"""
import collections
import datetime
import heapq
import json
import re
import sys

NAMESPACE = "bench"
NEWEST = 100
HOUR_NS = 3600 * 10**9
MINUTE_NS = 60 * 10**9
SAMPLE_LINES = 1_000
SAMPLES = 40

# Parts of the envelope in their order, and the keys they are taken from, best first.
ENVELOPE = {
    "function": ("function", "service.name", "service_name", "service", "app", "application", "container", "job", "logger"),
    "revision": ("revision",),
    "pod": ("pod", "pod_name", "instance"),
    "node": ("node", "host", "hostname"),
    "stream": ("stream",),
    "level": ("level", "severity", "log.level", "lvl", "loglevel"),
    "call": ("call", "request_id", "requestId", "req_id", "trace_id", "traceId", "correlation_id"),
    "msg": ("msg", "message", "log", "body", "text", "line", "event"),
}
# Words for levels besides the platform's own, and numbers some libraries write.
LEVELS = {
    "verbose": "trace", "10": "trace", "20": "debug", "information": "info", "notice": "info", "log": "info", "30": "info",
    "40": "warn", "50": "error", "critical": "fatal", "crit": "fatal", "panic": "fatal", "alert": "fatal", "emerg": "fatal",
    "emergency": "fatal", "60": "fatal",
}
TIMES = ("time", "ts", "@timestamp", "timestamp", "_time", "datetime", "date", "t")

PAIR = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)?')
RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s*([Zz]|[+-]\d\d:?\d\d)?$")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DECODER = json.JSONDecoder()


def pairs(line):
    """Keys and values of an object as they are spelled; None for what is no JSON object."""
    line = line.strip()
    if not line.startswith("{") or not line.endswith("}"):
        return None
    found, at, end = [], 1, len(line) - 1
    while line[at:end].strip() if not found else at < end:
        match = PAIR.match(line, at)
        if not match:
            return None
        key, value = match.groups()
        at = match.end()
        if value is None:
            try:
                _, after = DECODER.raw_decode(line, at)
            except ValueError:
                return None
            value, at = line[at:after], after
        found.append((key, value))
        while at < end and line[at] in " \t,":
            at += 1
    return found


def moment(value):
    """Nanoseconds since 1970 of a spelled value and its digits behind the second; None when it is no time."""
    text = value[1:-1] if value.startswith('"') else value
    if re.fullmatch(r"\d+(\.\d+)?", text):
        whole, _, part = text.partition(".")
        digits = 0 if int(whole) < 10**11 else 3 if int(whole) < 10**14 else 6 if int(whole) < 10**17 else 9
        part = part[:9 - digits]
        return int(whole + part) * 10**(9 - digits - len(part)), digits + len(part)
    match = RFC3339.match(text)
    if not match:
        return None
    day, clock, part, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z", "z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        since = datetime.datetime.fromisoformat(f"{day}T{clock}{zone}") - EPOCH
    except ValueError:
        return None
    part = part or ""
    return (since.days * 86_400 + since.seconds) * 10**9 + int(part.ljust(9, "0") or 0), len(part)


class Clock:
    """Writes times; consecutive ones are mostly of the same second."""

    def __init__(self):
        self.second, self.text = None, ""

    def rfc3339(self, time_ns, digits=9):
        second, rest = divmod(time_ns, 10**9)
        if second != self.second:
            self.second = second
            self.text = (EPOCH + datetime.timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self.text}.{rest:09d}"[:20 + digits].rstrip(".") + "Z"


class Plan:
    """What each key of lines with the same keys becomes."""

    def __init__(self, keys):
        keys = list(keys)
        places = {key: index for index, key in enumerate(keys)}
        self.time = next((places[key] for key in TIMES if key in places), None)
        taken = {self.time}
        self.envelope = []
        for part, names in ENVELOPE.items():
            place = next((places[name] for name in names if name in places and places[name] not in taken), None)
            if place is not None:
                taken.add(place)
                self.envelope.append((part, place))
        self.fields = [(index, key) for index, key in enumerate(keys) if index not in taken]


class Records:
    """Lines to records. After each, what it was: its time, parts of the envelope (as spelled, without quotes), number."""

    def __init__(self, number=None):
        self.plans, self.clock = {}, Clock()
        self.number_key = number
        self.time_ns, self.digits = 0, 9
        self.parts, self.number = {}, None

    def record(self, line):
        """The record of a line, as text without its newline."""
        found = pairs(line)
        if found is None:
            found = [("msg", json.dumps(line.rstrip("\r\n"), ensure_ascii=False))]
        keys = tuple([key for key, _ in found])
        plan = self.plans.get(keys) or self.plans.setdefault(keys, Plan(keys))
        time = None
        if plan.time is not None:
            time = moment(found[plan.time][1])
        self.time_ns, self.digits = time or (self.time_ns, self.digits)
        out = [f'{{"time":"{self.clock.rfc3339(self.time_ns, self.digits)}","namespace":"{NAMESPACE}"']
        self.parts, self.number, fields = {}, None, []
        if plan.time is not None and time is None:
            fields.append(f'"{keys[plan.time]}":{found[plan.time][1]}')
        for part, place in plan.envelope:
            value = found[place][1]
            if part == "level":
                word = LEVELS.get(value.strip('"').lower())
                value = f'"{word}"' if word else value
            if value.startswith('"'):
                self.parts[part] = value[1:-1]
                out.append(f'"{part}":{value}')
            else:
                fields.append(f'"{keys[place]}":{value}')
        for place, key in plan.fields:
            value = found[place][1]
            if key == "namespace":
                continue
            if key == "fields" and value.startswith("{"):
                fields += [value[1:-1]] if value[1:-1].strip() else []
                if self.number_key and self.number_key in value:
                    self.number = json.loads(value).get(self.number_key)
                continue
            if key == self.number_key and value[0] in "-0123456789":
                self.number = float(value)
            fields.append(f'"{key}":{value}')
        if fields:
            out.append(f'"fields":{{{",".join(fields)}}}')
        return ",".join(out) + "}"


def word_edges(phrase):
    """A phrase as the query language reads it: whole words, upper and lower case alike."""
    return re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE)


class Survey:
    """What some lines from all over a file have, so that there is something to ask for."""

    def __init__(self, path):
        self.lines = []
        size = path.stat().st_size
        with path.open("rb") as file:
            for number in range(SAMPLES):
                file.seek(size * number // SAMPLES)
                if number:
                    file.readline()
                for _ in range(SAMPLE_LINES):
                    line = file.readline()
                    if not line or file.tell() > size * (number + 1) // SAMPLES:
                        break
                    self.lines.append(line.decode(errors="replace"))
        records = Records()
        self.keys, self.parts, self.numbers = (collections.Counter() for _ in range(3))
        self.messages, self.call = [], None
        for number, line in enumerate(self.lines):
            record = json.loads(records.record(line))
            self.parts.update(records.parts.keys())
            self.messages.append(record.get("msg", ""))
            for key, value in record.get("fields", {}).items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    self.numbers[key] += 1
            if number >= len(self.lines) // 2:
                self.call = self.call or records.parts.get("call")
            self.keys.update(key for key, _ in pairs(line) or [])
        self.columns = {}
        for line in self.lines:
            for key, value in pairs(line) or []:
                kind = self.kind(value)
                self.columns[key] = kind if self.columns.get(key, kind) == kind else self.wider(kind, self.columns[key])
        named = lambda names: max((name for name in names if self.keys[name]), key=lambda name: self.keys[name], default=None)
        self.names = {part: named(names) for part, names in ENVELOPE.items()} | {"time": named(TIMES)}

    @staticmethod
    def kind(value):
        """What a spelled value is."""
        if value in ("true", "false"):
            return "boolean"
        if value[0] in "-0123456789":
            return "integer" if value.lstrip("-").isdigit() else "number"
        return "null" if value == "null" else "text"

    @staticmethod
    def wider(kind, other):
        """What has values of two kinds."""
        if "null" in (kind, other):
            return kind if other == "null" else other
        return "number" if {kind, other} == {"integer", "number"} else "text"

    def number(self):
        """The field whose percentile is asked for."""
        timed = [key for key in self.numbers if re.search(r"duration|latency|elapsed|took|_ms$", key)]
        return max(timed or self.numbers, key=lambda key: self.numbers[key], default=None)

    def phrase(self):
        """Three words that some messages have and most have not."""
        counts = collections.Counter()
        for message in self.messages:
            counts.update(set(re.findall(r"(?<!\w)(?=([A-Za-z]+ [A-Za-z]+ [A-Za-z]+)(?!\w))", message)))
        rare = [text for text, count in counts.most_common() if 3 <= count <= len(self.messages) // 50]
        return (rare or [text for text, _ in counts.most_common(1)] or [None])[0]


class Truth:
    """What queries must answer, by a look at each line."""

    def __init__(self, survey, phrase, regex):
        self.names, self.call, self.columns = survey.names, survey.call, survey.columns
        self.group = "function" if survey.parts["function"] else "level"
        self.number = survey.number()
        self.phrase = phrase if any(phrase in message for message in survey.messages) else survey.phrase()
        pattern = re.compile(regex)
        if not any(pattern.search(message) for message in survey.messages) and self.phrase:
            first, _, last = self.phrase.split(" ")
            regex = f"{first} [A-Za-z]+ {last}"
        self.regex = regex
        self.has_level = survey.parts["level"] > 0
        self.lines = self.raw_bytes = self.call_lines = self.regex_lines = self.phrase_lines = self.phrase_plain = 0
        self.newest_ns, self.function, self.error_level = 0, None, None
        self.phrase_newest, self.errors = [], []
        self.cells, self.numbers = set(), collections.defaultdict(list)

    def read(self, source, target):
        """Makes the records of a file of lines."""
        records = Records(self.number)
        pattern = re.compile(self.regex)
        edges = word_edges(self.phrase) if self.phrase else None
        hint = self.phrase.lower() if self.phrase else None
        with source.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines, \
                target.open("w", encoding="utf-8", errors="surrogateescape") as output:
            for line in lines:
                if not line.strip():
                    continue
                output.write(records.record(line) + "\n")
                self.lines += 1
                parts, time_ns = records.parts, records.time_ns
                message = parts.get("msg", "")
                if "\\" in message:
                    message = json.loads(f'"{message}"')
                group = parts.get(self.group)
                self.newest_ns = max(self.newest_ns, time_ns)
                self.cells.add((group, time_ns // MINUTE_NS))
                if self.call is not None and parts.get("call") == self.call:
                    self.call_lines += 1
                if parts.get("level", "").lower() in ("error", "err") or not self.has_level:
                    self.errors.append((time_ns, parts.get("function")))
                    self.error_level = parts.get("level")
                if records.number is not None:
                    self.numbers[group].append(records.number)
                if pattern.search(message):
                    self.regex_lines += 1
                if hint and hint in message.lower():
                    self.phrase_plain += self.phrase in message
                    if edges.search(message):
                        self.phrase_lines += 1
                        heapq.heappush(self.phrase_newest, time_ns)
                        if len(self.phrase_newest) > NEWEST:
                            heapq.heappop(self.phrase_newest)
        self.raw_bytes = source.stat().st_size
        self.since_ns = self.newest_ns - HOUR_NS
        self.time_numeric = self.columns.get(self.names["time"]) in ("integer", "number")
        self.time_digits = records.digits
        self.since_text = Clock().rfc3339(self.since_ns, 9)[:-1]
        self.errors = [(at, name) for at, name in self.errors if at >= self.since_ns]
        self.function = next((name for name, _ in collections.Counter(name for _, name in self.errors).most_common(1)), None)
        self.error_newest = heapq.nlargest(NEWEST, (at for at, name in self.errors if name == self.function))
        self.p99 = {}
        for group, values in self.numbers.items():
            values.sort()
            self.p99[group] = values[-(-len(values) * 99 // 100) - 1]
        self.numbers = None
        return self


def main():
    """Lines on standard input, records on standard output."""
    records = Records()
    for line in sys.stdin:
        if line.strip():
            sys.stdout.write(records.record(line) + "\n")


if __name__ == "__main__":
    main()
