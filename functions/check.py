#!/usr/bin/env python3
"""Checks the function runners and the samples without a cluster.

    functions/check.py                          everything
    functions/check.py --only python wordcount  some runtimes and samples
    functions/check.py --without swift          without what needs a Swift build (swift, exec, lambda)
"""

import argparse
import os
import sys
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from checking import fuzz, lambdas, languages, runners, samples  # noqa: E402, F401  (languages adds its checks)
from checking.pod import FUNCTIONS, Failure  # noqa: E402

RUNTIMES = ("python", "node", "exec", "swift", "lambda")


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, name, wrong):
        if wrong:
            self.failed += 1
            print(f"FAIL  {name}\n      {wrong}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}", flush=True)


def check_runtime(name, tools, tally, chosen):
    spec = {"handler": {"python": "handler.py", "node": "handler.mjs:handle"}.get(name), "command": ["./run.sh"] if name == "exec" else None}
    folder = f"{FUNCTIONS}/checking/fixtures/{name}"
    try:
        argv, environment, _ = samples.runner_of(name, folder, spec, tools)
    except (Failure, OSError) as error:
        return tally(f"{name} runner: can be started", str(error))
    runner = runners.Runner(name, argv, folder, environment)
    for check, runtimes in runners.CHECKS:
        title = check.__name__.replace("_", " ")
        generic = name != "lambda" or check.__name__ in lambdas.GENERIC
        if (name not in runtimes if runtimes else not generic) or chosen not in title:
            continue
        try:
            check(runner)
            tally(f"{name} runner: {title}", "")
        except (Failure, OSError) as error:
            tally(f"{name} runner: {title}", str(error) or repr(error))
        except Exception:
            tally(f"{name} runner: {title}", traceback.format_exc())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="runtimes and samples to check")
    parser.add_argument("--without", nargs="*", default=[], help="runtimes to leave out; swift leaves out exec and lambda")
    parser.add_argument("--check", default="", help="only runner checks whose name holds this text")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--node", default="node")
    parser.add_argument("--exec-runner", help="a built apus-exec-runner; built when not given")
    parser.add_argument("--lambda-bridge", help="a built apus-lambda-bridge; built when not given")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--mutations", type=int, default=120_000)
    options = parser.parse_args()
    left_out = set(options.without) | {
        name for name, built in (("exec", options.exec_runner), ("lambda", options.lambda_bridge))
        if "swift" in options.without and not built
    }
    tools = samples.Tools(options.python, options.node, options.exec_runner, options.lambda_bridge)
    tally = Tally()

    def wanted(name):
        return name not in left_out and (not options.only or name in options.only)

    if wanted("fuzz"):
        print(f"seed {options.seed}, {options.mutations} mutations", flush=True)
        try:
            good, refused, unfinished = fuzz.fuzz(options.seed, options.mutations)
            tally(f"python parser: {good} requests, {refused} refused, {unfinished} unfinished", "" if good and refused else "one-sided")
        except Failure as error:
            tally("python parser: mutations", str(error))
    for name in RUNTIMES:
        if wanted(name):
            check_runtime(name, tools, tally, options.check)
    for name in sorted(os.listdir(f"{FUNCTIONS}/samples")):
        folder = f"{FUNCTIONS}/samples/{name}"
        if os.path.exists(f"{folder}/function.yaml") and not options.check:
            if samples.manifest(folder)["runtime"] not in left_out and wanted(name):
                samples.replay(name, tools, tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
