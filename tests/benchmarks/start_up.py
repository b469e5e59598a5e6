"""Start-up against `python -c 'import typer'`, in one run: python tests/benchmarks/start_up.py.

Prints the median CPU time (user + system) of each command over RUNS processes, and its ratio.
The bound is 2.5.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

RUNS = 15
PEER = [sys.executable, "-c", "import typer"]
COMMANDS = {
    "gantools --help": ["--help"],
    "gantools edit --help": ["edit", "--help"],
    "gantools train stylegan2 --help": ["train", "stylegan2", "--help"],
    "usage error": ["edit", "--no-such-option"],
    "completion": [],
}


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=False, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Interleaved runs, so that a drift of the machine meets all of them."""
    asks = {"_GANTOOLS_COMPLETE": "complete_bash", "COMP_WORDS": "gantools ed", "COMP_CWORD": "1"}
    jobs = {"import typer": (PEER, dict(os.environ))}
    for name, argv in COMMANDS.items():
        environment = {**os.environ, **(asks if name == "completion" else {})}
        jobs[name] = ([sys.executable, "-m", "gantools", *argv], environment)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(RUNS + 1):
        for name, job in jobs.items():
            times[name].append(seconds(*job))
    base = statistics.median(times["import typer"][1:])
    for name, all_runs in times.items():
        median = statistics.median(all_runs[1:])
        print(f"{name:32} {median * 1000:7.1f} ms  {median / base:5.2f}x")


if __name__ == "__main__":
    main()
