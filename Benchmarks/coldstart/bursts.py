"""Many requests at once to a function at zero, each of which needs a pod of its own."""
import contextlib
import json
import os
import pathlib
import selectors
import socket
import subprocess
import time
import urllib.parse

import bench
import starts

# A pod begins its answer at once and stays busy until the client has seen the first byte of every answer, or so long.
HOLD_S = 20
PATIENCE_S = 60
# A node is at rest when nothing was made ahead for so long.
REST_S = 2
RUNTIMES = ("native", "python")
HANDLER = f"""import time


def handle(event, context):
    def pieces():
        yield context.pod + "\\n"
        end = time.monotonic() + {HOLD_S}
        while time.monotonic() < end and not context.cancelled:
            time.sleep(0.5)

    return pieces()
"""
# Small enough that 200 of them fit a node of two cores and 24 GiB.
MANIFEST = """apiVersion: apus.dev/v1
kind: Function
metadata:
  name: burst-{runtime}
spec:
  runtime: {name}
  {start}
  env: {{HOLD: "{hold}"}}
  concurrency: 1
  resources: {{memory: 48Mi, cpu: 150m}}
  queue: {{limit: 1000, timeout: 60s}}
  scale: {{max: {most}, idleAfter: 100ms}}
"""


def build(folder, most):
    """The folders of both functions."""
    native, python = folder / "burst-native", folder / "burst-python"
    native.mkdir()
    python.mkdir()
    source = bench.ROOT / "Benchmarks" / "coldstart" / "hold.c"
    subprocess.run(["cc", "-O2", "-static", "-s", "-o", native / "server", source], check=True)
    (native / "function.yaml").write_text(
        MANIFEST.format(runtime="native", name="binary", start='command: ["./server"]', hold=HOLD_S, most=most))
    (python / "function.yaml").write_text(
        MANIFEST.format(runtime="python", name="python", start="handler: handler.py:handle", hold=HOLD_S, most=most))
    (python / "handler.py").write_text(HANDLER)
    return native, python


def burst(gateway, function, size):
    """Sends that many requests at once. Milliseconds to the first piece of each answer, the pods that answered, and
    answers that were none."""
    address = urllib.parse.urlsplit(gateway)
    request = f"GET /function/{function} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    taken, pods, errors = [], set(), []
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        clients = []
        for _ in range(size):
            client = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S))
            selector.register(client, selectors.EVENT_READ, bytearray())
            clients.append(client)
        start = time.perf_counter()
        for client in clients:
            client.sendall(request)
        open_, end = size, start + PATIENCE_S
        while open_ and time.perf_counter() < end:
            for key, _ in selector.select(timeout=1):
                piece = key.fileobj.recv(65536)
                key.data.extend(piece)
                head, _, body = bytes(key.data).partition(b"\r\n\r\n")
                lines = body.split(b"\r\n")
                if piece and len(lines) < 2:
                    continue
                if head.startswith(b"HTTP/1.1 200 ") and len(lines) > 1:
                    taken.append((time.perf_counter() - start) * 1000)
                    pods.add(lines[1])
                else:
                    errors.append(bytes(key.data[:300]) or b"the connection ended without an answer")
                selector.unregister(key.fileobj)
                open_ -= 1
        errors += [b"no answer within %d s" % PATIENCE_S] * open_
    return taken, pods, errors


def stems(cluster):
    """Pods made ahead that wait, by kind, as the nodes last reported them."""
    nodes = json.loads(cluster.call("GET", "/api/v1/nodes"))["items"]
    return {f"{node['metadata']['name']} {kind}": count
            for node in nodes for kind, count in (node["status"]["apus"].get("stems") or {}).items()}


def rest(cluster):
    """Waits until no pod is left and the pools of pods made ahead do not grow any more: reports of them come with signs of
    life, every half second."""
    bench.until("the end of every pod", lambda: cluster.pods() == 0)
    last, since = stems(cluster), time.monotonic()
    while time.monotonic() - since < REST_S:
        time.sleep(0.25)
        if (now := stems(cluster)) != last:
            last, since = now, time.monotonic()


def cpu_ms(cluster):
    """CPU by who used it: the daemons, and what the machine did beside them: pods, what the kernel does for them in threads
    of its own, and the client."""
    used = {"server": 0.0, "worker": 0.0, "spawners": 0.0}
    for pid, groups in cluster.grouped().items():
        role = "server" if pid == cluster.server else "worker" if pid in cluster.worker_pids else "spawners"
        used[role] += 0 if groups else bench.cpu_us(pid) / 1000
    user, nice, system, _, _, hard, soft, *_ = map(int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    busy = (user + nice + system + hard + soft) * 1000 / os.sysconf("SC_CLK_TCK")
    return {**used, "rest": busy - sum(used.values())}


def phases(cluster, function):
    """The phases of the calls that waited, ms: median and slowest."""
    found = cluster.logs(f"stream:access function:{function} cold:true")
    values = {p: [r["fields"][p] for r in found if p in r["fields"]] for p in starts.PHASES}
    return [f"{bench.percentile(v, 50):.1f} / {max(v):.1f}" if v else "-" for v in values.values()]


def measure(cluster, folder, sizes, rounds):
    """The figures, and the tables printed. Each burst meets a node at rest. In the first round that has one or two pods
    made ahead, later as many as it keeps for the largest burst it remembers: the two are figures of their own."""
    print(f"\nbursts of {', '.join(map(str, sizes))}, {rounds} rounds; ms until an answer begins, seen by the client")
    cluster.apus("deploy", *build(folder, max(sizes)))
    rows, rates, spent, errors = [], {}, {}, 0
    for number in range(1, rounds + 1):
        for size in sizes:
            for runtime in RUNTIMES:
                rest(cluster)
                before = cpu_ms(cluster)
                taken, pods, failed = burst(cluster.gateway, f"burst-{runtime}", size)
                after = cpu_ms(cluster)
                spent.setdefault(runtime, []).append([(after[who] - before[who]) / size for who in after])
                errors += len(failed)
                for text in sorted(set(failed))[:3]:
                    print(f"error: burst of {size}, {runtime}: {failed.count(text)} × {text.decode(errors='replace')}")
                last = max(taken, default=float("nan"))
                key = (runtime, size) if number > 1 or rounds == 1 else (f"{runtime}_unprepared", size)
                rates.setdefault(key, []).append(len(pods) / last * 1000)
                rows.append([f"{runtime}, round {number}", size, len(pods), *(
                    bench.percentile(taken or [0.0], p) for p in (0, 50)), last, rates[key][-1], len(failed)])
    bench.table(["burst", "requests", "pods", "first", "p50", "all", "pods/s", "errors"], rows)
    print("\nCPU a pod until all were answered, ms, median of the rounds; pods made ahead cost their part elsewhere")
    costs = {runtime: [bench.median(column) for column in zip(*values)] for runtime, values in spent.items()}
    bench.table(["runtime", *after], [[runtime, *values] for runtime, values in costs.items()])
    print("\nphases of the access records, ms, median / slowest")
    bench.table(["runtime", *(p.removesuffix("_ms") for p in starts.PHASES)],
                [[runtime, *phases(cluster, f"burst-{runtime}")] for runtime in RUNTIMES])
    figures = {"burst_errors": errors, "burst_cpu_ms": {r: dict(zip(after, v)) for r, v in costs.items()}}
    for (runtime, size), values in rates.items():
        figures[f"{runtime}_burst_{size}_ms"] = bench.median([size / value * 1000 for value in values])
        figures[f"{runtime}_burst_{size}_starts_per_s"] = bench.median(values)
    for runtime in RUNTIMES:
        figures[f"{runtime}_starts_per_s"] = figures[f"{runtime}_burst_{max(sizes)}_starts_per_s"]
    return figures
