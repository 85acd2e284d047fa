"""Do speed and memory stay flat from 10 to 10,000 cases?

Synthetic photographs of 256² pixels, a quarter of them with one disc of foreground, are written
into real stores of 10, 100, 1,000 and 10,000 cases (1.5 GB in a temporary folder, removed at the
end; all in memory when the clock runs). All sizes take turns in one thread of one process, so that
a machine that slows down slows all of them; times are processor time, and each turn is set beside
copying as many bytes from random places of the same store, which says how much of a difference is
the machine's own caches. Memory is measured in a process for each size, from the imports on, while
the store is opened, the pools are made and batches are drawn.

    python benchmarks/many_cases.py --out results
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rareseg as rs
from rareseg.data.store.store_writing import Source, is_current, write_store
from rareseg_runner.image_records import Classes, Geometry, Image
from rareseg_runner.preprocessing.preprocess import Preprocessing
from sampling import Task, copy_turn, measure, our_turn, resident_mb, sampler_of, spread, table

COUNTS = (10, 100, 1_000, 10_000)
SIDE = 256
POSITIVE_EVERY = 4
BATCHES = 200
"""Batches that are drawn while memory is watched."""

TASKS = (
    Task("64², balanced", "", "balanced", (64, 64), 120, 0, 0),
    Task("64², half positive", "", "negatives", (64, 64), 120, 0, 0),
)


def make_case(number: int) -> tuple[Image, np.ndarray]:
    """Return one photograph and its class indices; the same for the same number."""
    rng = np.random.default_rng(number)
    image = rng.integers(60, 120, (1, 1, SIDE, SIDE), dtype=np.uint8)
    labels = np.zeros((1, SIDE, SIDE), np.uint8)
    if number % POSITIVE_EVERY == 0:
        y, x = rng.integers(0, SIDE, 2)
        rows, columns = np.ogrid[:SIDE, :SIDE]
        labels[0] = (rows - y) ** 2 + (columns - x) ** 2 <= rng.integers(3, 13) ** 2
        image[0] += 40 * labels
    return Image(image, Geometry(spacing=(1.0, 1.0, 1.0), dimension=2)), labels


def make_store(folder: Path, count: int) -> rs.Store:
    """Write the store of the first ``count`` cases, or open the one that is there."""
    if is_current(folder, f"many cases {count}"):
        return rs.open_store(folder)
    sources = [
        Source(
            id=f"case{number:05d}",
            group=None,
            shape=(1, SIDE, SIDE),
            spacing=(1.0, 1.0, 1.0),
            dtype="uint8",
            channels=1,
            load=partial(make_case, number),
        )
        for number in range(count)
    ]
    classes = Classes(("background", "disc"), (0, 1), {"disc": (1,)})
    return write_store(
        folder,
        sources,
        classes=classes,
        preprocessing=Preprocessing(dimension=2),
        key=f"many cases {count}",
        jobs=1,
    )


def touch(store: rs.Store) -> None:
    """Read a byte of every page, so that none is mapped for the first time while it is timed."""
    for array in (store.images, store.labels):
        array[::4096].sum()


def watch(work: Any) -> float | None:
    """Return the most memory in MB that the process had over that at the start, during ``work``."""
    before = resident_mb()
    if before is None:
        return None
    most, done = before, threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, resident_mb() or 0.0)

    watcher = threading.Thread(target=look)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(most, resident_mb() or 0.0) - before


def memory_of(folder: Path, task: Task) -> dict[str, float | None]:
    """Return the peak over the imports, and how long it takes until the first batch is there."""
    # Compilation takes memory once and belongs to no number of cases.
    smallest = rs.open_store(folder.parent / str(COUNTS[0]))
    next(iter(sampler_of(smallest, task)))
    seconds = 0.0

    def draw() -> None:
        nonlocal seconds
        started = time.process_time()
        batches = iter(sampler_of(rs.open_store(folder), task))
        next(batches)
        seconds = time.process_time() - started
        for _ in range(BATCHES):
            next(batches)

    return {"memory_mb": watch(draw), "seconds_to_first_batch": seconds}


def alone(folder: Path, task: Task) -> dict[str, float | None]:
    """Measure the memory in a process of its own, forked before this one holds a store."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: sender.send(memory_of(folder, task)))
    process.start()
    found: dict[str, float | None] = receiver.recv()
    process.join()
    return found


def run_task(
    stores: dict[int, rs.Store], task: Task, memory: dict[int, Any], rounds: int
) -> dict[str, Any]:
    """Measure the speed of one task on all sizes in turn, and put the ``memory`` beside it."""
    ours = {str(count): our_turn(store, task) for count, store in stores.items()}
    copies = {f"copy {count}": copy_turn(store, task) for count, store in stores.items()}
    times = {
        name: np.array(found)
        for name, found in measure(ours | copies, rounds, float("inf")).items()
    }
    few = times[str(min(stores))]
    return {
        "task": asdict(task),
        "rows": [
            {
                "cases": count,
                "patches_per_second": spread(1 / times[str(count)]),
                "against_fewest": spread(few / times[str(count)]),
                "copies_per_second": spread(1 / times[f"copy {count}"]),
                **memory[count],
            }
            for count in stores
        ],
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the report."""
    parts = [f"# From few cases to many\n\n{result['machine']}\n"]
    for found in result["tasks"]:
        rows = [
            [
                "cases",
                "patches a second (quartiles)",
                f"of those with {COUNTS[0]} cases",
                "copies of as many bytes a second",
                "MB over the imports",
                "s to the first batch",
            ]
        ]
        for row in found["rows"]:
            speed, memory = row["patches_per_second"], row["memory_mb"]
            rows.append(
                [
                    f"{row['cases']:,}",
                    f"{speed['median']:,.0f} ({speed['low']:,.0f} … {speed['high']:,.0f})",
                    f"{100 * row['against_fewest']['median']:.0f} %",
                    f"{row['copies_per_second']['median']:,.0f}",
                    "not measured here" if memory is None else f"{memory:.0f}",
                    f"{row['seconds_to_first_batch']:.2f}",
                ]
            )
        parts.append(f"\n## {found['task']['name']}\n\n{table(rows)}")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Measure, print the report and write it beside the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--counts", type=int, nargs="*", default=list(COUNTS))
    parser.add_argument("--stores", type=Path, help="folder that keeps the stores")
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="many-cases-") as name:
        folder = arguments.stores or Path(name)
        counts = sorted({COUNTS[0], *arguments.counts})
        for count in counts:
            print(f"writing {count:,} cases", file=sys.stderr)
            make_store(folder / str(count), count)
        memory = [{n: alone(folder / str(n), task) for n in counts} for task in TASKS]
        stores = {count: rs.open_store(folder / str(count)) for count in counts}
        for store in stores.values():
            touch(store)
        result = {
            "machine": f"{os.cpu_count()} processors, one used; "
            + ", ".join(f"{part} {version(part)}" for part in ("rareseg", "numba", "numpy")),
            "tasks": [
                run_task(stores, task, used, arguments.rounds)
                for task, used in zip(TASKS, memory, strict=True)
            ],
        }
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = markdown(result)
    (arguments.out / "many_cases.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (arguments.out / "many_cases.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
