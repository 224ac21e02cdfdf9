"""The stores that peers.py measures: how each is filled, opened and asked. Answers are counts, cells or percentiles."""
import json
import pathlib
import re
import sqlite3
import subprocess

NEWEST = 100
BATCH = 5_000
PATIENCE_S = 1_800


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Spec:
    """What is asked, in the names and spellings of the file."""

    def __init__(self, values):
        self.__dict__.update(values)

    def since(self):
        """The beginning of the last hour as the file spells times."""
        return self.since_ns // 10 ** (9 - self.time_digits) if self.time_numeric else self.since_text

    def minute(self, time):
        """A spelled time as minutes."""
        return int(time) // (60 * 10**self.time_digits) if self.time_numeric else str(time)[:16]


class Store:
    """One store: `load` makes `path` of the lines, each query answers a number, or a dictionary for q6."""

    def __init__(self, spec):
        self.spec, self.folder = spec, pathlib.Path(spec.folder)
        self.source = pathlib.Path(spec.source)
        self.path = self.folder / "store"

    def load(self):
        self.folder.mkdir(parents=True, exist_ok=True)

    def open(self):
        """Whatever is needed before the first query."""

    def disk(self):
        files = self.path.rglob("*") if self.path.is_dir() else self.folder.glob("store*")
        return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


class SQL(Store):
    """The queries in SQL that SQLite and DuckDB share."""

    def ask(self, name):
        """The answer to a query, read to its end; None for what the lines do not have."""
        spec = self.spec
        time_, msg, function = (quoted(spec.names[part] or "") for part in ("time", "msg", "function"))
        call, group = quoted(spec.names["call"] or ""), quoted(spec.names[spec.group] or "")
        if name == "q1":
            return len(self.rows(f"SELECT * FROM logs WHERE {call} = ?", spec.call)) if spec.call else None
        if name == "q2":
            where, values = [f"{time_} >= {self.moment('?')}"], [spec.since()]
            if spec.function:
                where, values = where + [f"{function} = ?"], values + [spec.function]
            if spec.error_level:
                where, values = where + [f"{quoted(spec.names['level'])} = ?"], values + [spec.error_level]
            return len(self.rows(
                f"SELECT * FROM logs WHERE {' AND '.join(where)} ORDER BY {time_} DESC LIMIT {NEWEST}", *values))
        if name == "q3":
            condition, value = self.holds(msg)
            return len(self.rows(f"SELECT * FROM logs WHERE {condition} ORDER BY {time_} DESC LIMIT {NEWEST}", value))
        if name == "q3c":
            return self.count_phrase(msg)
        if name == "q4":
            rows = self.rows(f"SELECT {group}, {self.minute(time_)} AS m, count(*) FROM logs GROUP BY 1, 2")
            return [len(rows), sum(row[2] for row in rows)]
        if name == "q5":
            return self.rows(f"SELECT count(*) FROM logs WHERE {self.matches(msg)}", spec.regex)[0][0]
        return dict(self.rows(self.p99(group, quoted(spec.number)))) if spec.number in spec.columns else None

    def holds(self, msg):
        return f"{msg} LIKE ?", f"%{self.spec.phrase}%"

    def count_phrase(self, msg):
        condition, value = self.holds(msg)
        return self.rows(f"SELECT count(*) FROM logs WHERE {condition}", value)[0][0]

    def columns(self, types):
        return ", ".join(f"{quoted(name)} {types.get(kind, 'VARCHAR')}" for name, kind in self.spec.columns.items())


class DuckDB(SQL):
    """A table in DuckDB's own format, read from the file by DuckDB."""

    name = "duckdb"
    TYPES = {"integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}

    def connect(self):
        import duckdb
        self.base = duckdb.connect(str(self.path))

    def load(self):
        super().load()
        self.connect()
        columns = {name: self.TYPES.get(kind, "VARCHAR") for name, kind in self.spec.columns.items()}
        given = ", ".join(f"'{name}': '{kind}'" for name, kind in ((n.replace("'", "''"), k) for n, k in columns.items()))
        source = str(self.source).replace("'", "''")
        self.base.execute(
            f"CREATE TABLE logs AS SELECT * FROM read_json('{source}', format = 'newline_delimited', ignore_errors = true,"
            f" columns = {{{given}}})")
        self.base.execute("CHECKPOINT")
        self.base.close()

    def open(self):
        self.connect()

    def rows(self, query, *values):
        return self.base.execute(query, values).fetchall()

    def moment(self, value):
        return value

    def minute(self, time_):
        return f"{time_} // {60 * 10**self.spec.time_digits}" if self.spec.time_numeric else f"substr({time_}, 1, 16)"

    def matches(self, msg):
        return f"regexp_matches({msg}, ?)"

    def p99(self, group, number):
        return f"SELECT {group}, quantile_disc({number}, 0.99) FROM logs WHERE {number} IS NOT NULL GROUP BY 1"


class SQLite(SQL):
    """A table with indexes of the call, the function with level and time, the time, and FTS5 over the messages."""

    name = "sqlite"
    TYPES = {"integer": "INTEGER", "number": "REAL", "boolean": "INTEGER"}

    def connect(self):
        self.base = sqlite3.connect(self.path)

    def load(self):
        super().load()
        self.connect()
        names = self.spec.names
        self.base.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        self.base.execute(f"CREATE TABLE logs ({self.columns(self.TYPES)})")
        for parts in (["call"], ["function", "level", "time"], ["time"]):
            columns = [quoted(names[part]) for part in parts if names[part]]
            if columns:
                self.base.execute(f"CREATE INDEX {quoted('by ' + parts[0])} ON logs ({', '.join(columns)})")
        msg = quoted(names["msg"])
        self.base.execute(f"CREATE VIRTUAL TABLE words USING fts5({msg}, content = 'logs')")
        keys, number = list(self.spec.columns), 0
        insert = f"INSERT INTO logs VALUES ({', '.join('?' * len(keys))})"
        with self.source.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            batch = []
            for line in lines:
                if line.strip():
                    batch.append(self.row(line, keys))
                if len(batch) == BATCH:
                    number = self.commit(insert, batch, number, msg)
                    batch = []
            self.commit(insert, batch, number, msg)
        self.base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.base.close()

    def commit(self, insert, batch, number, msg):
        """Writes lines in a transaction, which is durable then; the number of the last row."""
        place = list(self.spec.columns).index(self.spec.names["msg"])
        self.base.executemany(insert, batch)
        self.base.executemany(f"INSERT INTO words (rowid, {msg}) VALUES (?, ?)",
                              [(number + index + 1, row[place]) for index, row in enumerate(batch)])
        self.base.commit()
        return number + len(batch)

    @staticmethod
    def row(line, keys):
        try:
            value = json.loads(line)
        except ValueError:
            value = {}
        values = [value.get(key) for key in keys]
        return [json.dumps(one) if isinstance(one, (dict, list)) else one for one in values]

    def open(self):
        self.connect()
        pattern = re.compile(self.spec.regex)
        self.base.create_function("regexp", 2, lambda _, text: text is not None and pattern.search(text) is not None,
                                  deterministic=True)

    def rows(self, query, *values):
        return self.base.execute(query, values).fetchall()

    def moment(self, value):
        return value

    def holds(self, msg):
        return "rowid IN (SELECT rowid FROM words WHERE words MATCH ?)", self.phrase()

    def count_phrase(self, msg):
        return self.rows("SELECT count(*) FROM words WHERE words MATCH ?", self.phrase())[0][0]

    def phrase(self):
        return quoted(self.spec.phrase)

    def minute(self, time_):
        return f"{time_} / {60 * 10**self.spec.time_digits}" if self.spec.time_numeric else f"substr({time_}, 1, 16)"

    def matches(self, msg):
        return f"{msg} REGEXP ?"

    def p99(self, group, number):
        return (f"SELECT g, v FROM (SELECT {group} AS g, {number} AS v, row_number() OVER (PARTITION BY {group} ORDER BY {number})"
                f" AS r, count(*) OVER (PARTITION BY {group}) AS n FROM logs WHERE {number} IS NOT NULL)"
                " WHERE r = (n * 99 + 99) / 100")


class Lines(Store):
    """Stores that answer with lines on standard output."""

    def pipe(self, *commands):
        """The bytes that come out of commands behind each other."""
        processes, before = [], None
        for command in commands:
            processes.append(subprocess.Popen(command, stdin=before or subprocess.DEVNULL, stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE if command is commands[-1] else subprocess.DEVNULL))
            if before:
                before.close()
            before = processes[-1].stdout
        output, errors = processes[-1].communicate(timeout=PATIENCE_S)
        for process in processes:
            process.wait()
        if processes[-1].returncode > 1 or errors and not output:
            raise RuntimeError(errors.decode(errors="replace").strip()[:300] or f"{commands[-1][0]} failed")
        return output

    def key(self, part):
        return f'"{re.escape(self.spec.names[part])}":\\s*'

    def field(self, part, value):
        return f"{self.key(part)}{re.escape(json.dumps(value, ensure_ascii=False))}"


class Ripgrep(Lines):
    """ripgrep on the file as it is."""

    name = "rg"

    def load(self):
        """There is nothing to make."""

    def disk(self):
        return self.source.stat().st_blocks * 512

    def rg(self, *steps):
        """ripgrep's output for a chain of its arguments."""
        return self.pipe(*[["rg", "--no-config", "-N", *step, *([str(self.source)] if index == 0 else ["-"])]
                           for index, step in enumerate(steps)])

    def ask(self, name):
        spec = self.spec
        if name == "q1":
            return (lambda out: out.count(b"\n")) if spec.call and self.keep(["-F", spec.call]) else None
        if name == "q2":
            steps = [[self.field("function", spec.function)]] if spec.function else []
            steps += [[self.field("level", spec.error_level)]] if spec.error_level else []
            self.keep(*steps)
            return lambda out: min(NEWEST, sum(self.is_late(line) for line in out.splitlines()))
        if name == "q3":
            self.keep(["-F", spec.phrase])
            return lambda out: min(NEWEST, out.count(b"\n"))
        if name == "q3c":
            self.keep(["-c", "-F", spec.phrase])
            return lambda out: int(out or 0)
        if name == "q4":
            if not spec.names[spec.group]:
                return None
            self.keep(self.extract(spec.names["time"], spec.names[spec.group]))
            return self.cells
        if name == "q5":
            self.keep(["-c", spec.regex])
            return lambda out: int(out or 0)
        if spec.number not in spec.columns or not spec.names[spec.group]:
            return None
        self.keep(self.extract(spec.names[spec.group], spec.number))
        return self.p99

    def keep(self, *steps):
        """Runs ripgrep; what it printed is kept for the one who adds up."""
        self.output = self.rg(*steps)
        return True

    def extract(self, first, second):
        """Arguments that print the values of two keys, whose order in a line is that of the first line."""
        with self.source.open(encoding="utf-8", errors="replace") as file:
            line = next((line for line in file if f'"{first}"' in line and f'"{second}"' in line), "")
        value = r'\s*("[^"]*"|[^",}]*)'
        parts = [f'"{re.escape(name)}":{value}' for name in (first, second)]
        swapped = line.find(f'"{first}"') > line.find(f'"{second}"')
        pattern = ".*?".join(reversed(parts) if swapped else parts)
        return ["-o", "-r", "$2\t$1" if swapped else "$1\t$2", pattern]

    def is_late(self, line):
        time_ = json.loads(line).get(self.spec.names["time"])
        return time_ is not None and time_ >= self.spec.since()

    def cells(self, out):
        found = {}
        for line in out.decode(errors="replace").splitlines():
            time_, group = line.split("\t", 1)
            cell = (group, self.spec.minute(time_.strip('"')))
            found[cell] = found.get(cell, 0) + 1
        return [len(found), sum(found.values())]

    def p99(self, out):
        found = {}
        for line in out.decode(errors="replace").splitlines():
            group, value = line.rsplit("\t", 1)
            found.setdefault(group.strip('"'), []).append(float(value))
        return {group: sorted(values)[-(-len(values) * 99 // 100) - 1] for group, values in found.items()}


class ZstdRipgrep(Ripgrep):
    """ripgrep behind zstd -3 of the whole file."""

    name = "zstd|rg"

    def load(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pipe(["zstd", "-3", "-q", "-f", "-o", str(self.path), str(self.source)])

    def disk(self):
        return self.path.stat().st_blocks * 512

    def rg(self, *steps):
        return self.pipe(["zstd", "-dcq", str(self.path)], *[["rg", "--no-config", "-N", *step, "-"] for step in steps])


class CLP(Ripgrep):
    """clp-s: its language has no regular expressions, so ripgrep looks for them in the lines that have their longest text."""

    name = "clp-s"

    def binary(self):
        import yscope_clp_core
        return str(pathlib.Path(yscope_clp_core.__file__).parent / "bin" / "clp-s")

    def load(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pipe([self.binary(), "c", "--timestamp-key", self.spec.names["time"], str(self.path), str(self.source)])

    def disk(self):
        return Store.disk(self)

    def search(self, query, *more):
        self.output = self.pipe([self.binary(), "s", str(self.path), query, *more])
        return True

    def term(self, part, value):
        return f"{self.spec.names[part]}: {json.dumps(value)}"

    def ask(self, name):
        spec = self.spec
        if name == "q1":
            return (lambda out: out.count(b"\n")) if spec.call and self.search(self.term("call", spec.call)) else None
        if name == "q2":
            terms = [self.term("function", spec.function)] if spec.function else []
            terms += [self.term("level", spec.error_level)] if spec.error_level else []
            self.search(" AND ".join(terms), *(["--tge", str(spec.since_ns // 10**6)] if spec.time_numeric else []))
            return lambda out: min(NEWEST, sum(self.is_late(line) for line in out.splitlines()))
        if name in ("q3", "q3c"):
            self.search(self.term("msg", f"*{spec.phrase}*"))
            most = NEWEST if name == "q3" else 1 << 60
            return lambda out: min(most, out.count(b"\n"))
        if name == "q5":
            text = max(re.split(r"\\.|[^A-Za-z0-9_ ]+|[A-Za-z0-9_]?[*+?{]", spec.regex), key=len)
            wild = self.term("msg", f"*{text}*" if text else "*")
            self.output = self.pipe([self.binary(), "s", str(self.path), wild], ["rg", "--no-config", "-c", spec.regex, "-"])
            return lambda out: int(out or 0)
        names = (spec.names["time"], spec.names[spec.group]) if name == "q4" else (spec.names[spec.group], spec.number)
        if name == "q6" and spec.number not in spec.columns or not all(names):
            return None
        self.search(f"{names[0 if name == 'q4' else 1]}: *", "--projection", *names)
        return self.cells_of if name == "q4" else self.p99_of

    def cells_of(self, out):
        rows = (json.loads(line) for line in out.splitlines())
        names = self.spec.names
        return self.cells("\n".join(f"{row[names['time']]}\t{row.get(names[self.spec.group])}" for row in rows).encode())

    def p99_of(self, out):
        rows = (json.loads(line) for line in out.splitlines())
        group, number = self.spec.names[self.spec.group], self.spec.number
        return self.p99("\n".join(f"{row.get(group)}\t{row[number]}" for row in rows).encode())


STORES = {store.name: store for store in (Ripgrep, ZstdRipgrep, SQLite, CLP, DuckDB)}
