"""Python functions with packages of PyPI, from zero: what importing them costs a start."""
import bench
import starts

PACKAGES = ["pydantic", "requests", "numpy"]
HANDLER = """import {package}


def handle(event, context):
    return f"Hello, {{event.text}}!"
"""


def measure(cluster, folder, calls):
    """The figures, and the table printed."""
    print(f"\nPython functions that import a package, from zero, {calls} starts of each")
    taken = {}
    for package in PACKAGES:
        place = folder / f"with-{package}"
        place.mkdir()
        (place / "handler.py").write_text(HANDLER.format(package=package))
        (place / "requirements.txt").write_text(f"{package}\n")
        (place / "function.yaml").write_text(
            starts.MANIFEST.format(name=place.name, runtime="python", start="handler: handler.py:handle"))
        cluster.apus("deploy", place)
        cluster.patch(place.name, {"scale": {"idleAfter": "100ms"}})
        # The first finds the package's files on the disk.
        starts.from_zero_ms(cluster, place.name)
        taken[package] = [starts.from_zero_ms(cluster, place.name) for _ in range(calls)]
        cluster.apus("delete", place.name)
    bench.table(["package", "min", "p50", "p90", "p99", "max"], [
        [package, *(bench.percentile(values, p) for p in (0, 50, 90, 99)), max(values)]
        for package, values in taken.items()])
    return {f"python_{package}_p50_ms": bench.percentile(values, 50) for package, values in taken.items()}
