"""Many idle Python pods on one node: their memory, the kernel's for them, and how long they take to end."""
import contextlib
import os
import pathlib
import re
import time

import bench

KERNEL_FIELDS = ("Slab", "PageTables", "KernelStack", "Percpu")
PATIENCE_S = 120
HANDLER = 'def handle(event, context):\n    return "Hello, world!"\n'
# A node counts the memory a pod may take, not what it takes: 1,000 of these fit a machine of 24 GiB.
MANIFEST = """apiVersion: apus.dev/v1
kind: Function
metadata:
  name: idle
spec:
  runtime: python
  handler: handler.py:handle
  resources: {memory: 15Mi, cpu: 30m}
"""
LIMIT_BYTES = 15 << 20


def meminfo():
    """/proc/meminfo in KiB by name."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}


def sandboxes(cluster):
    """Names of the pods and stems that have control groups."""
    tops = set().union(*cluster.grouped().values())
    return {slot for top in tops for slot in os.listdir(top) if (top / slot).is_dir()}


def groups(cluster):
    """The pods' control groups by path, with their inode, so that a slot taken again is another one. Pods are told from
    stems that wait by their memory limit, which no other group has."""
    found = {}
    folders = [top / slot for top in set().union(*cluster.grouped().values()) for slot in os.listdir(top)]
    slots = {folder.name for folder in folders if limit(folder) == LIMIT_BYTES}
    for folder in folders:
        with contextlib.suppress(OSError):
            if folder.name in slots and folder.is_dir():
                found[folder] = folder.stat().st_ino
    return found


def limit(folder):
    """The memory limit of a control group, in either version of them; None where this hierarchy has none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
    return None


def members(folders):
    """Processes in these control groups."""
    pids = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            pids |= set(map(int, (folder / "cgroup.procs").read_text().split()))
    return pids


def kernel_kib(folders):
    """What the kernel itself counts as its memory for these groups; None where it does not say."""
    files = [folder / "memory.kmem.usage_in_bytes" for folder in folders]
    values = [int(file.read_text()) for file in files if file.exists()]
    return sum(values) / 1024 if values else None


def pss_kib(pids):
    """PSS of the processes that still are."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, AttributeError):
            total += bench.pss_kib(pid)
    return total


def ready(cluster):
    return cluster.metrics().get('apus_gateway_pods{function="default/idle",state="ready"}', 0)


def teardown_s(cluster, pods, folders):
    """Seconds from the request to delete the function until no process and no control group of its pods is left."""
    start = time.perf_counter()
    cluster.apus("delete", "--no-wait", "idle")
    waiting = sorted(pods)

    def ended_all():
        # Those seen to have ended are not asked for again: looking must not take the processor from who is looked at.
        while waiting and not os.path.exists(f"/proc/{waiting[-1]}"):
            waiting.pop()
        return not waiting

    bench.until("the end of every process", ended_all, PATIENCE_S)
    ended = time.perf_counter() - start

    waiting_groups = list(folders.items())

    def all_gone():
        while waiting_groups:
            folder, inode = waiting_groups[-1]
            with contextlib.suppress(OSError):
                if os.stat(folder).st_ino == inode:
                    return False
            waiting_groups.pop()
        return True

    bench.until("the end of every control group", all_gone, PATIENCE_S)
    return ended, time.perf_counter() - start


def measure(cluster, folder, count, kind):
    """The figures, and what they are made of printed."""
    print(f"\n{count} idle Python pods")
    place = folder / "idle"
    place.mkdir()
    (place / "handler.py").write_text(HANDLER)
    (place / "function.yaml").write_text(MANIFEST)
    cluster.apus("deploy", place)
    cluster.patch("idle", {"scale": {"idleAfter": "100ms"}})
    bench.until("the end of every pod", lambda: cluster.pods() == 0)
    before, stems = meminfo(), len(sandboxes(cluster))
    daemons = {"server": cluster.server, "worker": cluster.worker_pids[0]}
    rss = {name: bench.memory_kib(pid) for name, pid in daemons.items()}
    start = time.perf_counter()
    cluster.patch("idle", {"scale": {"min": count, "max": count}})
    bench.until(f"{count} ready pods", lambda: ready(cluster) == count, PATIENCE_S, pause=0.02)
    filled = time.perf_counter() - start
    time.sleep(2)  # what starts leave behind: records on their way, stems made again
    after, folders, made = meminfo(), groups(cluster), len(sandboxes(cluster)) - stems
    pods = members(folders)
    others = set(cluster.processes()) - pods
    counted = kernel_kib(folders)
    pss, rest = pss_kib(pods) / 1024, pss_kib(others) / 1024
    # Stems are made again meanwhile, and take as much of the kernel's memory as a pod.
    share = count / max(count, made)
    growth = {f"kernel_{name.lower()}_mb": share * (after.get(name, 0) - before.get(name, 0)) / 1024
              for name in KERNEL_FIELDS}
    kernel = sum(growth.values())
    available = share * (before["MemAvailable"] - after["MemAvailable"]) / 1024
    ended, gone = teardown_s(cluster, pods, folders)
    bench.table(["what", "MiB", "KiB a pod"], [
        [f"PSS of {len(pods)} processes in {len(folders)} control groups", pss, pss * 1024 / count],
        *([f"{name}, more than before", value, value * 1024 / count] for name, value in growth.items()),
        ["PSS and the kernel's together", pss + kernel, (pss + kernel) * 1024 / count],
        ["available memory of the machine, less than before", available, available * 1024 / count],
        *([["kernel memory as the control groups count it", counted / 1024, counted / count]] if counted else []),
        ["PSS of server, worker, spawners, zygotes, supervisor", rest, "-"],
        *([f"{name}, RSS more than before", (bench.memory_kib(pid) - rss[name]) / 1024, "-"]
          for name, pid in daemons.items()),
    ])
    print(f"{made} sandboxes more than before; of the kernel's and the machine's memory the pods' share is given")
    print(f"ready after {filled:.2f} s; deleted: no process of them after {ended:.2f} s, no control group {gone:.2f} s")
    return {f"idle_python_{count}{kind}_mb": pss + kernel, f"idle_python_{count}{kind}_pss_mb": pss,
            f"idle_python_{count}{kind}_kernel_mb": kernel, f"idle_python_{count}{kind}_available_mb": available,
            f"idle_python_{count}{kind}_fill_s": filled, f"teardown_{count}{kind}_s": gone}
