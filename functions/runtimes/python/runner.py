"""Runs one Apus function: /usr/bin/python3 -I -S /runtime/runner.py (the contract: functions/README.md).

Only the built-in modules are imported here, because a cold start waits for every import. This file is a stub: a
script is compiled at each start, an imported module is not (when its .pyc is beside it).
"""

import sys


def main():
    sys.dont_write_bytecode = True
    runtime = __file__.rpartition("/")[0] or "."
    if runtime not in sys.path:
        sys.path.insert(0, runtime)
    import apus_serve

    apus_serve.stand_in()
    apus_serve.run()


if __name__ == "__main__":
    main()
