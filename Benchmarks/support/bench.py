"""What the benchmarks share: a cluster of their own that does not outlive them, figures of processes, tables, the JSON."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import base64
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "functions" / "samples"
APUS = ROOT / ".build" / "release" / "apus"
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
PATIENCE_S = 60


def fail(message):
    """Ends the benchmark with an error; whatever is open is closed on the way out."""
    sys.exit(f"error: {message}")


def need(program, package):
    """The path of a program; an error that names its Debian package when it is missing."""
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return path or fail(f"{program} is missing: apt-get install {package}")


def prepare():
    """Makes an interrupted benchmark clean up, and checks that there is something to measure."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    sys.stdout.reconfigure(line_buffering=True)
    if not APUS.exists():
        fail(f"{APUS} is missing: make build")


def until(what, condition, patience=PATIENCE_S, pause=0.005):
    """Waits for a condition and answers its value; an error that says what did not happen."""
    end = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > end:
            fail(f"{what} did not happen within {patience} s")
        time.sleep(pause)
    return value


# Processes


def stat(pid):
    """The fields of /proc/PID/stat after the name; None when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_us(*pids):
    """Microseconds of CPU the processes have used, all of their threads, ended ones too."""
    return sum((int(s[11]) + int(s[12])) * TICK_US for pid in pids if (s := stat(pid)))


def thread_cpu_us(pid):
    """Microseconds of CPU of a process's threads that live, finer than `cpu_us`."""
    used = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            used += int(pathlib.Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return used / 1000


def memory_kib(pid, field="VmRSS"):
    """A figure of /proc/PID/status: VmRSS now, VmHWM the highest."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M).group(1))


def pss_kib(pid):
    """The process's memory with shared pages divided by their users."""
    return int(re.search(r"^Pss:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))


def descendants(pid):
    """Every process below one."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (s := stat(entry)):
            children.setdefault(int(s[1]), []).append(int(entry))
    found, open_ = [], [pid]
    while open_:
        below = children.get(open_.pop(), [])
        found += below
        open_ += below
    return found


def pin(cpu, *pids):
    """Ties every thread of the processes, and what they start from now on, to one processor."""
    for pid in pids:
        subprocess.run(["taskset", "-a", "-p", "-c", str(cpu), str(pid)], check=False, capture_output=True)


def mentions(text):
    """Processes with a text in their command line."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and int(entry) != os.getpid():
                if text.encode() in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes():
                    found.append(int(entry))
    return found


# Figures


def percentile(values, p):
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * p // 100) - 1)]


def median(values):
    """The middle value, or the mean of the two in the middle."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def machine():
    """One line about what the figures were taken on."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    load = "/".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"{os.cpu_count()} cores {model.group(1) if model else ''}, {memory:.0f} GiB, Linux {os.uname().release}, "
        f"load {load}, {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime())}"
    )


def table(heads, rows):
    """Prints rows under heads, the first column to the left, the others to the right."""
    cells = [[f"{c:.1f}" if isinstance(c, float) else str(c) for c in row] for row in [heads, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        first, *rest = zip(row, widths)
        print(first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest), sep="  ")


def result(area, figures):
    """The last line: one JSON object."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({"benchmark": area, **rounded}))


# A cluster


class Cluster:
    """A cluster of the release build in a folder of its own on free ports; gone at the end of the `with`."""

    def __init__(self, workers=1, flags=()):
        self.workers, self.flags = workers, flags

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="bench-", dir="/tmp")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("APUS_")} | {"APUS_DATA": self.data}
        try:
            self.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        down = subprocess.run([APUS, "down"], env=self.environment, capture_output=True, text=True, check=False)
        left = mentions(self.data)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)
        mounts = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if self.data in line]
        if down.returncode or left or mounts:
            print(f"warning: apus down left {len(left)} processes, {len(mounts)} mounts: {down.stderr}", file=sys.stderr)

    def apus(self, *arguments):
        """Runs the command line on this cluster and answers what it printed."""
        run = subprocess.run([APUS, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if run.returncode:
            fail(f"apus {' '.join(map(str, arguments[:3]))}: {run.stderr}{run.stdout}")
        return run.stdout

    def up(self):
        """Starts the cluster's processes."""
        ports = ["--gateway-port", "0", "--api-port", "0", "--admin-port", "0"]
        self.apus("up", "--workers", str(self.workers), *ports, *self.flags)
        self.read()

    def read(self):
        """Learns where everything is."""
        status = json.loads(self.apus("status", "-o", "json"))
        self.gateway = status["gateway"]
        self.metrics_url = status["metrics"]
        self.server = next(p["pid"] for p in status["processes"] if p["role"] == "server")
        self.worker_pids = [p["pid"] for p in status["processes"] if p["role"] == "worker"]
        self.supervisor = json.loads(pathlib.Path(self.data, "run/processes.json").read_text())["supervisor"]
        config = pathlib.Path(self.data, "kubeconfig").read_text()
        value = lambda name: re.search(rf"\b{name}: \"?([^\"\s]+)", config).group(1)
        self.token = value("token")
        self.api = urllib.parse.urlsplit(value("server"))
        authority = base64.b64decode(value("certificate-authority-data")).decode()
        self.trust = ssl.create_default_context(cadata=authority)

    def connection(self):
        """A connection to the API."""
        return http.client.HTTPSConnection(self.api.hostname, self.api.port, context=self.trust, timeout=PATIENCE_S)

    def call(self, method, path, body=None, kind="application/json", connection=None):
        """One request to the API; the bytes of its answer."""
        connection = connection or self.connection()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            fail(f"{method} {path}: {answer.status} {data[:500]!r}")
        return data

    def patch(self, function, spec):
        """Merges fields into a function's spec."""
        path = f"/apis/apus.dev/v1/namespaces/default/functions/{function}"
        self.call("PATCH", path, json.dumps({"spec": spec}), kind="application/merge-patch+json")

    def restart(self, between=lambda: None):
        """Ends the cluster's processes and starts them again on the same folder; what is to be done in between."""
        self.apus("down")
        between()
        self.up()

    def logs(self, query, limit=10_000, stats=None, connection=None):
        """The records a query finds, newest first."""
        return [json.loads(line) for line in self.log_bytes(query, limit, stats, connection).splitlines()]

    def log_bytes(self, query, limit, stats=None, connection=None, since=None, namespace="default"):
        """The same as it is sent, a line a record; `since` is a moment or so long ago (15m)."""
        parameters = {"query": query, "limit": limit} | ({"stats": stats} if stats else {})
        parameters |= {"since": since} if since else {}
        path = f"/apis/apus.dev/v1/namespaces/{namespace}/logs?{urllib.parse.urlencode(parameters)}"
        return self.call("GET", path, connection=connection)

    def metrics(self):
        """Every sample of the gateway's /metrics, by name and labels as they are written."""
        with urllib.request.urlopen(self.metrics_url, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def pods(self):
        """Pods the gateway knows, in any state."""
        return sum(value for name, value in self.metrics().items() if name.startswith("apus_gateway_pods{"))

    def processes(self):
        """Everything below the supervisor: server, workers, spawners, pods."""
        return descendants(self.supervisor)

    def grouped(self):
        """By process below the supervisor the control groups that hold all pods and stems of its worker, one in each
        hierarchy; none for a process that is neither."""
        found = {}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
                parts = re.findall(r"^\d+:([^:,]*)[^:]*:(.*/apus/\w+)/", lines, re.M)
                found[pid] = {pathlib.Path(f"/sys/fs/cgroup/{kind}{path}") for kind, path in parts}
        return found
