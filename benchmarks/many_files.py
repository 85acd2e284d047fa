"""How long does `rareseg inspect` take for many small files, and how much memory?

Photographs of 64² pixels of noise, every second one with a bright rectangle, and their masks are
written as PNG into a temporary folder (160 MB of disk for 20,000 cases), and the command line is
called on each number of cases in a process of its own. Beside the wall clock stands the processor
time of all its processes, which another load on the machine changes less; memory is the most that
they hold together, shared pages counted once (PSS, on Linux alone).

    python benchmarks/many_files.py --out results
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL.Image

COUNTS = (1_000, 5_000, 20_000)
SIDE = 64
WATCHED_EVERY = 2.0
"""Seconds between two looks at the memory, which take some processor time themselves."""


def write_cases(folder: Path, count: int) -> None:
    """Write so many cases into ``folder/images`` and ``folder/masks``."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        image = rng.normal(110, 12, (SIDE, SIDE))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if number % 2:
            y, x = rng.integers(2, 52, 2)
            mask[y : y + 9, x : x + 8] = 255
            image[mask > 0] += 60
        name = f"case{number:05d}.png"
        PIL.Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        PIL.Image.fromarray(mask).save(folder / "masks" / name)


def tree_of(process: int) -> list[int]:
    """Return a process and all below it."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            below = task.read_text().split()
        except OSError:
            continue
        found += [one for child in below for one in tree_of(int(child))]
    return found


def shared_mb(process: int) -> float:
    """Return the memory of a process in MB, shared pages divided among those that share them."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def inspect(folder: Path) -> dict[str, float]:
    """Return what `rareseg inspect` takes on a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-m", "rareseg", "inspect", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(map(shared_mb, tree_of(process.pid))))
        time.sleep(WATCHED_EVERY)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"rareseg inspect {folder} ended with {process.returncode}.")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": used, "memory_mb": most}


def main() -> None:
    """Measure, print the table and write it beside the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--counts", type=int, nargs="*", default=list(COUNTS))
    arguments = parser.parse_args()
    rows = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory(prefix="many-files-") as name:
            print(f"{count:,} cases", file=sys.stderr)
            write_cases(Path(name), count)
            rows.append({"cases": count, **inspect(Path(name))})
    machine = f"{os.cpu_count()} processors, rareseg {version('rareseg')}"
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    report = [
        f"# Inspecting many small files\n\n{machine}; load at the end {load}\n",
        "| cases | s | processor s | MB |",
        "|---|---|---|---|",
        *(
            f"| {row['cases']:,} | {row['seconds']:.0f} | {row['processor_seconds']:.0f} "
            f"| {row['memory_mb']:.0f} |"
            for row in rows
        ),
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, "load": load, "rows": rows}
    (arguments.out / "many_files.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (arguments.out / "many_files.md").write_text("\n".join(report) + "\n", encoding="utf-8")
    print("\n".join(report))


if __name__ == "__main__":
    main()
