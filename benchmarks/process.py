"""What a whole command costs: peak memory, wall time and CPU time, of Python in a process of its own. Linux, macOS.

The system counts as a child's what its parent held when it was made. So the child is made by a small process, which
is this file as a program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


class CommandError(Exception):
    """A command that was to be measured failed."""


def measured(*arguments: str) -> dict[str, float]:
    """Run Python with these arguments: {"mib": peak resident memory, "seconds": ..., "cpu": seconds of CPU}.

    Raises CommandError.
    """
    result = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise CommandError(f"python {' '.join(arguments)} ended with {result.returncode}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def main(arguments: list[str]) -> int:
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    # wait4 and not getrusage: the latter keeps the largest of all children so far
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    mib = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    cost = {"mib": round(mib), "seconds": round(seconds, 2), "cpu": round(usage.ru_utime + usage.ru_stime, 2)}
    print(json.dumps(cost))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
