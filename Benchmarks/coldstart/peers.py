"""The same native and Python function started by runc and by bubblewrap, taking turns with ours."""
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import bench
import starts

FUNCTIONS = {"native": "hello-binary", "python": "hello-python"}
COMMANDS = {"native": ["./server"], "python": ["/usr/bin/python3", "-I", "-S", "/runtime/runner.py"]}
# The parts of the machine's root that a pod of ours sees too; Debian's links are kept as links.
SYSTEM = ("/usr",)
LINKS = {"/bin": "usr/bin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
# Descriptors of a pod: the listening socket, where log frames go, where it says that it is ready.
# They are copied from numbers that high, so that none is overwritten before it is copied.
HIGH = 100
START_S = 10
MEMORY_BYTES = 128 << 20
UID = 65_534
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "PORT": "8080", "K_SERVICE": "hello", "LISTEN_FDS": "1",
    "APUS_FUNCTION": "hello", "APUS_REVISION": "hello-00001", "APUS_NAMESPACE": "default", "APUS_POD": "hello",
    "APUS_HANDLER": "handler.py:handle"}
# Pods of ours have a filter of system calls; this much of one for runc.
REFUSED = ["acct", "add_key", "bpf", "delete_module", "finit_module", "init_module", "kexec_load", "keyctl", "mount",
           "move_mount", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "ptrace", "quotactl",
           "reboot", "request_key", "setns", "swapoff", "swapon", "umount2", "unshare", "userfaultfd"]


class Peer:
    """A runtime of containers: how it starts one, and how it ends it."""

    def __init__(self, name, command, end):
        self.name, self.command, self.end = name, command, end


def prepare(folder):
    """The runner as it is installed for pods, compiled, and the functions' code."""
    runtime = folder / "runtime"
    source = bench.ROOT / "functions" / "runtimes" / "python"
    shutil.copytree(source, runtime, ignore=shutil.ignore_patterns("__pycache__"))
    compiler = ["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compiler, runtime], check=True)
    for name, sample in FUNCTIONS.items():
        shutil.copytree(bench.SAMPLES / sample, folder / name)
    subprocess.run(["cc", "-O2", "-static", "-s", "-include", pathlib.Path(__file__).parent / "handed.h", "-o",
                    folder / "native" / "server", bench.SAMPLES / "hello-binary" / "server.c"], check=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444)
    return runtime


def configuration(code, runtime_folder, runtime, group):
    """An OCI configuration with what a pod of ours has, as far as runc gives it without a tool beside it."""
    bind = lambda source, target: {
        "destination": target, "source": str(source), "type": "bind", "options": ["bind", "ro", "nosuid", "nodev"]}
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "nodev", "noexec"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "nodev", "mode=1777", "size=64m"]},
        *(bind(path, path) for path in SYSTEM), bind(code, "/function"), bind(runtime_folder, "/runtime")]
    return {
        "ociVersion": "1.0.2", "hostname": "hello", "root": {"path": "rootfs", "readonly": True}, "mounts": mounts,
        "process": {
            "terminal": False, "user": {"uid": UID, "gid": UID}, "cwd": "/function", "args": COMMANDS[runtime],
            "env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "capabilities": {}, "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]},
        "linux": {
            "cgroupsPath": f"/{group}/pod",
            "resources": {"devices": [{"allow": False, "access": "rwm"}], "memory": {"limit": MEMORY_BYTES},
                          "pids": {"limit": 64}, "cpu": {"shares": 1024, "quota": 100_000, "period": 100_000}},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{"names": REFUSED, "action": "SCMP_ACT_ERRNO"}]},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}


def cleared(group):
    """Kills what is left in the control groups of a container, also one cut off in its start; true when they are gone."""
    tops = [pathlib.Path("/sys/fs/cgroup", group), *pathlib.Path("/sys/fs/cgroup").glob(f"*/{group}")]
    for folder in [top / "pod" for top in tops] + tops:
        with contextlib.suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not any(top.exists() for top in tops)


@contextlib.contextmanager
def runc(folder, runtime_folder):
    """runc with a bundle for each function; its containers and control groups end with the block."""
    program, state, group = bench.need("runc", "runc"), folder / "runc-state", f"bench-coldstart-{os.getpid()}"
    for name in FUNCTIONS:
        root = folder / f"bundle-{name}" / "rootfs"
        for path in ("proc", "dev", "tmp", "function", "runtime", *(path.lstrip("/") for path in SYSTEM)):
            (root / path).mkdir(parents=True, exist_ok=True)
        for link, target in LINKS.items():
            (root / link.lstrip("/")).symlink_to(target)
        (root.parent / "config.json").write_text(
            json.dumps(configuration(folder / name, runtime_folder, name, group)))

    def command(name):
        bundle = str(folder / f"bundle-{name}")
        return [program, "--root", str(state), "run", "--preserve-fds", "3", "--bundle", bundle, group]

    def end(pid):
        subprocess.run([program, "--root", state, "delete", "--force", group], capture_output=True, check=False)

    try:
        yield Peer("runc", command, end)
    finally:
        end(None)
        bench.until("the end of runc's control groups", lambda: cleared(group), START_S)


def bubblewrap(folder, runtime_folder):
    """bubblewrap with the same view and namespaces; it knows no limits."""
    program = bench.need("bwrap", "bubblewrap")

    def command(name):
        view = [item for path in SYSTEM for item in ("--ro-bind", path, path)]
        view += [item for link, target in LINKS.items() for item in ("--symlink", target, link)]
        variables = [item for pair in ENVIRONMENT.items() for item in ("--setenv", *pair)]
        return [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--hostname", "hello",
                "--die-with-parent", "--as-pid-1", "--new-session", "--cap-drop", "ALL", *view, "--proc", "/proc",
                "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", str(folder / name), "/function",
                "--ro-bind", str(runtime_folder), "/runtime", "--chdir", "/function", "--clearenv", *variables, *COMMANDS[name]]

    return Peer("bubblewrap", command, lambda pid: os.kill(pid, signal.SIGKILL))


def first_byte(client):
    """One byte of the answer; none when the container ended or kept silent."""
    with contextlib.suppress(OSError):
        return client.recv(1)
    return b""


def start_ms(peer, runtime, folder):
    """Milliseconds from starting the peer's program to the first byte of the answer; the container has ended after."""
    path, log = str(folder / "s"), folder / f"{peer.name}.log"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
        listener.listen(16)
        output = stack.enter_context(log.open("wb")).fileno()
        null = stack.enter_context(open(os.devnull, "r+b", buffering=0)).fileno()
        given = (null, output, output, listener.fileno(), null, null)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in given]
        for fd in high:
            stack.callback(os.close, fd)
        begin = time.perf_counter()
        command = peer.command(runtime)
        pid = os.posix_spawn(command[0], command, {"PATH": os.environ["PATH"]},
                             file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high)])
        stack.callback(end, peer, pid)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(START_S)
            client.connect(path)
            client.sendall(b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: 3\r\nConnection: close\r\n\r\nAda")
            answer = first_byte(client)
            taken = (time.perf_counter() - begin) * 1000
            while not answer.endswith(b"Hello, Ada!") and (piece := client.recv(65536)):
                answer += piece
        if not answer.endswith(b"Hello, Ada!"):
            bench.fail(f"{peer.name}, {runtime}: {answer[:200]!r} {log.read_text()}")
        return taken


def end(peer, pid):
    """Ends a container and waits for the program that started it."""
    peer.end(pid)
    stop = time.monotonic() + START_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > stop:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def measure(cluster, folder, rounds):
    """The figures, and the table printed."""
    print(f"\nours, runc and bubblewrap in turns, {rounds} rounds")
    folder = folder / "peers"
    folder.mkdir()
    runtime_folder = prepare(folder)
    starts.deploy(cluster, folder, FUNCTIONS)
    taken = {}
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(runc(folder, runtime_folder)), bubblewrap(folder, runtime_folder)]
        for _ in range(rounds):
            for name, function in FUNCTIONS.items():
                taken.setdefault(("ours", name), []).append(starts.from_zero_ms(cluster, function))
                for peer in peers:
                    taken.setdefault((peer.name, name), []).append(start_ms(peer, name, folder))
    for function in FUNCTIONS.values():
        cluster.apus("delete", function)
    rows, figures = [], {}
    for (subject, name), values in taken.items():
        middle = bench.percentile(values, 50)
        ratio = middle / bench.percentile(taken["ours", name], 50)
        rows.append([f"{subject}, {name}", min(values), middle, bench.percentile(values, 99), f"{ratio:.2f}"])
        figures[f"{subject}_turns_{name}_p50_ms"] = middle
        if subject != "ours":
            figures[f"{subject}_ratio" if name == "native" else f"{subject}_{name}_ratio"] = ratio
    bench.table(["subject", "min", "p50", "p99", "÷ ours"], rows)
    return figures
