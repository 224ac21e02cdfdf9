"""One function after another from zero: time to the first byte seen by the client, and the phases of its record."""
import socket
import time
import urllib.parse

import bench

RUNTIMES = {"native": "hello-binary", "swift": "hello-swift", "python": "hello-python", "node": "hello-node",
            "exec": "hello-exec", "python_imports": "imports"}
PHASES = ["queue_ms", "cold_placed_ms", "cold_prepared_ms", "cold_sandboxed_ms", "cold_started_ms", "cold_ready_ms", "cold_total_ms"]
IMPORTS = """def handle(event, context):
    import json
    import ssl
    import urllib.request

    urllib.request.Request("https://localhost/", data=json.dumps({"tls": ssl.HAS_TLSv1_3}).encode())
    return f"Hello, {event.text}!"
"""
MANIFEST = """apiVersion: apus.dev/v1
kind: Function
metadata:
  name: {name}
spec:
  runtime: {runtime}
  {start}
"""


def first_byte_ms(gateway, function):
    """Milliseconds from sending a request to the first byte of its answer."""
    address = urllib.parse.urlsplit(gateway)
    request = f"POST /function/{function} HTTP/1.1\r\nHost: bench\r\nContent-Length: 3\r\nConnection: close\r\n\r\nAda"
    with socket.create_connection((address.hostname, address.port), timeout=bench.PATIENCE_S) as connection:
        start = time.perf_counter()
        connection.sendall(request.encode())
        answer = connection.recv(1)
        taken = (time.perf_counter() - start) * 1000
        while piece := connection.recv(65536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"Hello, Ada!"):
        bench.fail(f"{function} answered {answer[:300]!r}")
    return taken


def from_zero_ms(cluster, function):
    """The same when no pod is left of any function."""
    bench.until("the end of every pod", lambda: cluster.pods() == 0)
    return first_byte_ms(cluster.gateway, function)


def deploy(cluster, folder, runtimes):
    """Deploys what is measured; an idle pod of it is kept as short as can be."""
    imports = folder / "imports"
    imports.mkdir(exist_ok=True)
    (imports / "handler.py").write_text(IMPORTS)
    (imports / "function.yaml").write_text(
        MANIFEST.format(name="imports", runtime="python", start="handler: handler.py:handle"))
    functions = [RUNTIMES[runtime] for runtime in runtimes]
    cluster.apus("deploy", *(imports if name == "imports" else bench.SAMPLES / name for name in functions))
    for name in functions:
        cluster.patch(name, {"scale": {"idleAfter": "100ms"}})


def measure(cluster, folder, calls):
    """The figures, and the tables printed."""
    print(f"\nstarts from zero, {calls} of each runtime")
    deploy(cluster, folder, RUNTIMES)
    taken = {runtime: [] for runtime in RUNTIMES}
    # Runtimes take turns, so that what else the machine does falls on all of them.
    for _ in range(calls):
        for runtime, function in RUNTIMES.items():
            taken[runtime].append(from_zero_ms(cluster, function))
    records = {}
    for runtime, function in RUNTIMES.items():
        query = f"stream:access function:{function} cold:true"
        found = bench.until(
            "the access record of every call",
            lambda query=query: (found := cluster.logs(query)) and len(found) >= calls and found[:calls])
        records[runtime] = [record["fields"] for record in found]
    for function in RUNTIMES.values():
        cluster.apus("delete", function)
    return report(taken, records) | {"calls": calls}


def report(taken, records):
    for runtime, values in taken.items():
        print(f"{runtime}, ms:", " ".join(f"{value:.1f}" for value in values))
    rows, figures = [], {}
    for runtime, values in taken.items():
        rows.append([runtime, *(bench.percentile(values, p) for p in (0, 50, 90, 99)), max(values)])
        figures[f"{runtime}_p50_ms"] = bench.percentile(values, 50)
        figures[f"{runtime}_p99_ms"] = bench.percentile(values, 99)
    print("\ntime to the first byte, ms, seen by the client")
    bench.table(["runtime", "min", "p50", "p90", "p99", "max"], rows)
    rows, figures["phases_p50_ms"], figures["phases_median_start_ms"] = [], {}, {}
    for runtime, found in records.items():
        # The start in the middle, by the gateway's own clock: its phases belong to one call and can be added up.
        middle = sorted(found, key=lambda record: record.get("cold_total_ms", 0))[len(found) // 2]
        figures["phases_median_start_ms"][runtime] = {p: middle[p] for p in PHASES if p in middle}
        medians = {p: bench.percentile([r[p] for r in found if p in r] or [0.0], 50) for p in PHASES}
        rows.append([f"{runtime}, median of each", *medians.values()])
        rows.append([f"{runtime}, the median start", *(middle.get(p, "-") for p in PHASES)])
        figures["phases_p50_ms"][runtime] = medians
    print("\nphases of the access records, ms")
    bench.table(["runtime", *(p.removesuffix("_ms") for p in PHASES)], rows)
    return figures
