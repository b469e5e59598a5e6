"""All measures of networks, in the layout of paper 000's Table I (papers.md S0.19, X.5).

    python tests/benchmarks/network_table.py [--num 2000] [--only fid ppl …] [--kept FOLDER] \
        --row NAME NET REAL [READER] [--row …]

A column for each row's network, a line for each measure, as Markdown. NET: a network file or name;
REAL: real pictures of its size, as `metrics` takes them; READER: an attribute network for LS. Each
figure is made by one command of gantools, which is printed before it runs; results are kept in
--kept, so that a stopped table goes on. FID, KID, precision and recall see MobileNetV2's features,
PPL VGG19's first layers (weights: $GANTOOLS_WEIGHTS).
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Measure -> its command after `gantools metrics`, for a row's net, real and reader and a number.
COMMANDS = {
    "fid": "fid {real} --net {net} --num {num} --features mobilenet",
    "kid": "kid {real} --net {net} --num {num} --features mobilenet",
    "pr": "pr {real} --net {net} --num {num} --features mobilenet",
    "swd": "swd {real} --net {net} --num {num}",
    "msssim": "msssim --net {net} --pairs {half}",
    "msssim_real": "msssim {real} --pairs {half}",
    "ppl": "ppl --net {net} --num {half} --perceptual vgg19 --crop none",
    "ls": "ls --net {net} --num {many} --reader {reader}",
}
LINES = (
    ("FID", "fid", "fid"),
    ("KID x 1000", "kid", "kid"),
    ("precision", "pr", "precision"),
    ("recall", "pr", "recall"),
    ("density", "pr", "density"),
    ("coverage", "pr", "coverage"),
    ("PPL z full", "ppl", "ppl_zfull"),
    ("PPL w full", "ppl", "ppl_wfull"),
    ("PPL z end", "ppl", "ppl_zend"),
    ("PPL w end", "ppl", "ppl_wend"),
    ("LS z", "ls", "ls_z"),
    ("LS w", "ls", "ls_w"),
    ("SWD", "swd", "swd"),
    ("MS-SSIM", "msssim", "msssim"),
    ("MS-SSIM, real", "msssim_real", "msssim"),
)


def measured(kept: Path, name: str, measure: str, words: dict[str, Any]) -> dict[str, Any]:
    """What one command says; {} where it says that this network has no such measure."""
    file = kept / f"{name}-{measure}.json"
    if not file.exists():
        quoted = {key: shlex.quote(str(value)) for key, value in words.items()}
        argv = [*shlex.split("metrics " + COMMANDS[measure].format(**quoted)), "--json", "-q"]
        print("gantools", shlex.join(argv), file=sys.stderr, flush=True)
        ran = subprocess.run(
            [sys.executable, "-m", "gantools", *argv], stdout=subprocess.PIPE, check=False
        )
        if ran.returncode:
            return {}
        file.write_bytes(ran.stdout)
    return dict(json.loads(file.read_text()))


def shown(found: dict[str, Any], key: str) -> str:
    """The figure and its interval, or a dash."""
    if key not in found:
        return "-"
    scale = 1000 if key == "kid" else 1
    told = f"{found[key] * scale:.3g}"
    if f"{key}_ci" in found:
        low, high = (f"{end * scale:.3g}" for end in found[f"{key}_ci"])
        told += f" [{low}, {high}]"
    return told


def main() -> None:
    """Measure what is not kept yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", nargs="+", action="append", required=True)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--kept", type=Path)
    args = parser.parse_args()
    kept = args.kept or Path(tempfile.mkdtemp())
    kept.mkdir(parents=True, exist_ok=True)
    columns: dict[str, dict[str, dict[str, Any]]] = {}
    for name, net, real, *reader in args.row:
        words = {"net": net, "real": real, "num": args.num, "half": args.num // 2}
        words |= {"many": 5 * args.num, "reader": reader[0] if reader else ""}
        wanted = [m for m in args.only if m != "ls" or reader]
        columns[name] = {m: measured(kept, name, m, words) for m in wanted}
    print("| |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for line, measure, key in LINES:
        print(
            f"| {line} |", " | ".join(shown(c.get(measure, {}), key) for c in columns.values()), "|"
        )


if __name__ == "__main__":
    main()
