"""Other stores on the same lines: ripgrep on the file, ripgrep behind zstd, SQLite with FTS5, clp-s, DuckDB.

Each runs in a process of its own (`peers.py STORE SPEC`, JSON in and out), so that its CPU and memory are told apart. What a
store answers is compared with the scan of the file like our own; one that is wrong has no time. Programs that print lines
(ripgrep, clp-s) are done when the last line has been read; adding up what they print is not in their time. SQLite and DuckDB
are asked inside the process, warm by the connection that asked before, cold by a process that was just started.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

from stores import NEWEST, PATIENCE_S, STORES, Lines, Ripgrep, Spec

HERE = pathlib.Path(__file__).resolve()
QUERIES = ["q1", "q2", "q3", "q3c", "q4", "q5", "q6"]
# A query is asked at least so often, and again until it took so long in all or was asked so often.
REPEATS_MIN, REPEATS_MAX, REPEATS_S = 3, 9, 2
SLOW_MS = 1_000
PACKAGES = {"duckdb": "duckdb", "clp-s": "yscope-clp-core"}


def forget(path):
    """Has the system drop what it keeps of files."""
    path = pathlib.Path(path)
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def cpu_s():
    """CPU of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


# In the process of a store.


def timed(store, name):
    """The answer to a query, its milliseconds and CPU milliseconds."""
    cpu, start = cpu_s(), time.perf_counter()
    answer = store.ask(name)
    took, used = time.perf_counter() - start, cpu_s() - cpu
    return answer(store.output) if callable(answer) else answer, took * 1000, used * 1000


def warm(store):
    found = {}
    store.open()
    for name in QUERIES:
        taken, used = [], []
        # Of a slow query the first time counts too: asking once more would take longer than it tells.
        answer, took, cpu = timed(store, name)
        if took > SLOW_MS:
            taken, used = [took], [cpu]
        while len(taken) < REPEATS_MIN or len(taken) < REPEATS_MAX and sum(taken) < REPEATS_S * 1000:
            answer, took, cpu = timed(store, name)
            taken.append(took)
            used.append(cpu)
        found[name] = {"answer": answer, "ms": statistics.median(taken), "cpu_ms": statistics.median(used)}
    return found


def memory_kib(store):
    """The most memory that filling the store took: of the program if it is one, else of this process."""
    if isinstance(store, Lines):
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text()).group(1))


def work(task, store):
    """What this process was started for."""
    if task == "load":
        cpu, start = cpu_s(), time.perf_counter()
        store.load()
        took, used = time.perf_counter() - start, cpu_s() - cpu
        return {"s": took, "cpu_s": used, "peak_mb": memory_kib(store) * 1024 / 1e6, "disk": store.disk()}
    if task == "warm":
        return warm(store)
    forget(store.source if isinstance(store, Ripgrep) and store.name == "rg" else store.folder)
    start = time.perf_counter()
    store.open()
    opened = (time.perf_counter() - start) * 1000
    answer, took, cpu = timed(store, task)
    return {"answer": answer, "ms": opened + took, "cpu_ms": cpu}


# In the benchmark.


def python():
    """A Python with the packages of PyPI that peers need, in a folder of the build; None without them, and why."""
    folder = HERE.parents[2] / ".build" / "benchmarks-logs"
    interpreter = folder / "bin" / "python"
    wanted = ["duckdb", "yscope_clp_core"]
    has = [str(interpreter), "-c", f"import {', '.join(wanted)}"]
    if interpreter.exists() and subprocess.run(has, capture_output=True, check=False).returncode == 0:
        return interpreter
    print(f"installing {', '.join(PACKAGES.values())} from PyPI into {folder}")
    for command in ([sys.executable, "-m", "venv", folder], [interpreter, "-m", "pip", "install", "-q", *PACKAGES.values()]):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"missing: {', '.join(PACKAGES.values())} of PyPI: {(run.stderr or run.stdout).strip()[-300:]}")
            return None
    return interpreter


def missing(name, interpreter):
    """What has to be installed for a store, if anything."""
    programs = {"rg": ["rg"], "zstd|rg": ["rg", "zstd"], "clp-s": ["rg"]}.get(name, [])
    absent = [{"rg": "apt-get install ripgrep", "zstd": "apt-get install zstd"}[one] for one in programs if not shutil.which(one)]
    if name in PACKAGES and not interpreter:
        absent.append(f"pip install {PACKAGES[name]}")
    return ", ".join(absent)


def spec(truth, source):
    """What a store's process must know."""
    shared = ("names", "columns", "call", "function", "error_level", "phrase", "regex", "number", "group", "since_ns",
              "since_text", "time_numeric", "time_digits")
    return {"source": str(source)} | {name: getattr(truth, name) for name in shared}


def wrong(name, answer, truth):
    """Whether an answer is not what the lines say; SQLite's words and ours are whole, others find parts of words too."""
    expected = {
        "q1": [truth.call_lines], "q2": [len(truth.error_newest)],
        "q3": [len(truth.phrase_newest), min(NEWEST, truth.phrase_plain)], "q3c": [truth.phrase_lines, truth.phrase_plain],
        "q4": [[len(truth.cells), truth.lines]], "q5": [truth.regex_lines]}
    if name in expected:
        return answer not in expected[name]
    return any(abs(answer.get(group, 1e300) - p) > abs(p) / 100 for group, p in truth.p99.items() if group is not None)


def measure(name, interpreter, values, truth):
    """The figures of a store: load, disk, each query warm and cold; None where it has no answer."""
    interpreter = str(interpreter or sys.executable) if name in PACKAGES else sys.executable

    def run(task):
        command = [interpreter, str(HERE), name, task]
        done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout)

    load = run("load")
    figures = {"cpu_s": load["cpu_s"], "s": load["s"], "disk_mb": load["disk"] / 1e6, "peak_mb": load["peak_mb"]}
    found = run("warm")
    for query in QUERIES:
        one = found[query]
        if one["answer"] is None:
            continue
        if wrong(query, one["answer"], truth):
            print(f"{name}: {query} is wrong: {str(one['answer'])[:80]}")
            continue
        figures |= {f"{query}_ms": one["ms"], f"{query}_cpu_ms": one["cpu_ms"], f"{query}_cold_ms": run(query)["ms"]}
    return figures


if __name__ == "__main__":
    _, which, what = sys.argv
    print(json.dumps(work(what, STORES[which](Spec(json.load(sys.stdin))))))
