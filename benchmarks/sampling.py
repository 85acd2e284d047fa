"""How fast patches are drawn, against other libraries and against copying as many bytes.

Every contender draws from the same cases, in one thread, without augmentation, in turn: one round
gives each of them a turn, and a ratio is that of two times of one round, so that a machine that
slows down slows both. Times are processor time. The copy takes as many bytes as the images of a
batch have, patch by patch and channel by channel, from random places of the store's mapped images.
Libraries that cannot be imported are named and left out.

    RARESEG_DATA=data python benchmarks/sampling.py --out results
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_loaders import PEERS, Turn, Wish, arrays_of

import rareseg as rs
from rareseg.sampling.pools.pool import Pool, pool_classes, pool_windows

OURS, COPY = "rareseg", "memcpy"
NEEDS = {"TorchIO LabelSampler + Queue": "torchio", "nnU-Net's loader": "nnunetv2"}
NEAR = 0.9
"""A median within a tenth of its target meets it: the machines are noisy."""


@dataclass(frozen=True)
class Task:
    """What is drawn from which data, and how many times as fast it is to be."""

    name: str
    data: str
    strategy: str
    patch_size: tuple[int, ...]
    batch_size: int
    against_monai: float
    against_copy: float

    @property
    def wish(self) -> Wish:
        """The same in the words of the other libraries."""
        return Wish(self.patch_size, self.batch_size, balanced=self.strategy == "balanced")


TASKS = (
    Task("2D 64², 2 channels, 5 classes", "brats2013", "balanced", (64, 64), 120, 30, 0.33),
    Task("3D 64³, 2 channels, 5 classes", "brats2013", "balanced", (64, 64, 64), 10, 2.5, 0.40),
    Task("2D 256², half positive", "magnetic-tile", "negatives", (256, 256), 120, 6.5, 0.80),
)

INDEX_SHARE, INDEX_SECONDS, MEMORY_MB = 0.02, 1.0, 250.0


def sampler_of(store: rs.Store, task: Task) -> rs.PatchSampler:
    """Return the sampler of a task, which prepares nothing ahead: one thread does it all."""
    return rs.PatchSampler(
        store,
        strategy=task.strategy,
        patch_size=task.patch_size,
        batch_size=task.batch_size,
        seed=0,
        prefetch=0,
    )


def our_turn(store: rs.Store, task: Task, *, long: bool = False) -> Turn:
    """Go on in the loop over a sampler; ``long`` asks for labels of 64 bits as well."""
    batches = iter(sampler_of(store, task))

    def turn() -> int:
        batch = next(batches)
        return len(batch.labels if long else batch.images)

    return turn


def copy_turn(store: rs.Store, task: Task) -> Turn:
    """Copy as many bytes as the images of a batch have."""
    source = store.images.view(np.uint8)
    size = int(np.prod(task.patch_size)) * 4
    rng = np.random.default_rng(0)
    pieces = task.batch_size * store.channels

    def turn() -> int:
        out = np.empty(pieces * size, np.uint8)
        for k, place in enumerate(rng.integers(len(source) - size, size=pieces)):
            out[k * size : (k + 1) * size] = source[place : place + size]
        return task.batch_size

    return turn


def measure(turns: dict[str, Turn], rounds: int, budget: float) -> dict[str, list[float]]:
    """Return the seconds per patch of each contender's turns, round by round.

    Who has used up the ``budget`` (seconds) sits out the rounds that remain, with NaN.
    """
    times: dict[str, list[float]] = {name: [] for name in turns}
    used = dict.fromkeys(turns, 0.0)
    for turn in turns.values():
        turn()  # compilation, and first contact with the pages
    for _ in range(rounds):
        for name, turn in turns.items():
            if used[name] > budget:
                times[name].append(float("nan"))
                continue
            start = time.process_time()
            patches = turn()
            spent = time.process_time() - start
            used[name] += spent
            times[name].append(spent / patches)
    return times


def spread(values: np.ndarray) -> dict[str, float]:
    """Return the median and the quartiles of what is not NaN."""
    low, middle, high = np.nanpercentile(values, (25, 50, 75)).tolist()
    return {"median": middle, "low": low, "high": high, "turns": int(np.isfinite(values).sum())}


def run_task(store: rs.Store, task: Task, *, rounds: int, budget: float) -> dict[str, Any]:
    """Measure one task against everyone that is there."""
    cases = arrays_of(store, task.wish)
    turns = {
        OURS: our_turn(store, task),
        "rareseg, labels as int64": our_turn(store, task, long=True),
        COPY: copy_turn(store, task),
    }
    missing = {}
    for name, make in PEERS.items():
        package = NEEDS.get(name, "monai")
        if importlib.util.find_spec(package) is None:
            missing[name] = f"{package} is not installed"
            continue
        print(f"{task.name}: preparing {name}", file=sys.stderr)
        try:
            turns[name] = make(store, cases, task.wish)
            turns[name]()
        except Exception as error:  # another library's fault is a result, not an end
            turns.pop(name, None)
            missing[name] = f"{package} {version(package)}: {type(error).__name__}: {error}"
    times = {name: np.array(found) for name, found in measure(turns, rounds, budget).items()}
    return {
        "task": asdict(task),
        "patches_per_second": {name: spread(1 / found) for name, found in times.items()},
        "against": {name: spread(found / times[OURS]) for name, found in times.items()},
        "missing": missing,
    }


def run_index(store: rs.Store, name: str, make: Callable[[], Pool | tuple[Pool, ...]]) -> Any:
    """Measure how large the index of some pools is, and how long it takes to make."""
    make()
    seconds = []
    for _ in range(5):
        start = time.process_time()
        pools = make()
        seconds.append(time.process_time() - start)
    size = pools.nbytes if isinstance(pools, Pool) else sum(pool.nbytes for pool in pools)
    per_voxel = np.array(seconds) / len(store.labels)
    return {
        "pools": name,
        "bytes_per_mask_byte": size / store.labels.nbytes,
        "seconds_per_100_million_voxels": spread(per_voxel * 1e8),
    }


def index_rows(store: rs.Store, task: Task) -> list[Any]:
    """Measure the pools that a task's strategy draws from, and those of its windows."""
    size = task.patch_size
    return [
        run_index(store, f"{task.data}: all classes", lambda: pool_classes(store)),
        run_index(
            store,
            f"{task.data}: windows of {size} with foreground",
            lambda: pool_windows(store, size, "reflect", "foreground"),
        ),
        run_index(
            store,
            f"{task.data}: windows of {size} with nothing",
            lambda: pool_windows(store, size, "reflect", "nothing"),
        ),
    ]


def resident_mb() -> float | None:
    """Return the process's own memory, mapped files not counted, where Linux tells it."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(text.split("RssAnon:")[1].split()[0]) / 1024


def memory_of(folder: Path, task: Task) -> float | None:
    """Return the most memory over that of the imports, while a sampler draws 20 batches."""
    before = resident_mb()
    if before is None:
        return None
    most = before
    for k, _ in enumerate(sampler_of(rs.open_store(folder), task)):
        most = max(most, resident_mb() or 0.0)
        if k == 20:
            break
    return most - before


def memory_alone(folder: Path, task: int) -> float | None:
    """Measure the memory in a process that does nothing else."""
    command = [sys.executable, __file__, "--memory", str(folder), str(task)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return json.loads(done.stdout)


def verdict(value: float, target: float, *, at_least: bool = True) -> str:
    """Say whether a target is met, and otherwise by how much not."""
    part = value / target if at_least else target / value
    return "met" if part >= NEAR else f"missed: {100 * part:.0f} % of the way"


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def markdown(result: dict[str, Any]) -> str:
    """Return the report."""
    parts = [f"# Drawing patches\n\n{result['machine']}\n"]
    goals = [["task", "against", "target", "median (quartiles)", ""]]
    for found in result["tasks"]:
        task, against = found["task"], found["against"]
        for name, target in (
            ("MONAI at its fastest", task["against_monai"]),
            (COPY, task["against_copy"]),
        ):
            if name in against:
                a = against[name]
                goals.append(
                    [task["name"], name, f"≥ {target:g} ×", _three(a), verdict(a["median"], target)]
                )
    parts.append(table(goals))
    for found in result["tasks"]:
        rows = [["", "patches a second", "rareseg is … times as fast", "turns"]]
        for name, speed in found["patches_per_second"].items():
            rows.append([name, _three(speed), _three(found["against"][name]), str(speed["turns"])])
        rows += [[name, why, "", ""] for name, why in found["missing"].items()]
        parts.append(f"\n## {found['task']['name']}\n\n{table(rows)}")
    rows = [["pools", "of the mask's bytes", "seconds per 100 million voxels", ""]]
    for row in result["index"]:
        share, seconds = row["bytes_per_mask_byte"], row["seconds_per_100_million_voxels"]
        good = [
            verdict(share, INDEX_SHARE, at_least=False),
            verdict(seconds["median"], INDEX_SECONDS, at_least=False),
        ]
        rows.append([row["pools"], f"{100 * share:.2f} %", _three(seconds), " · ".join(good)])
    parts.append(f"\n## Index (at most 2 % and 1 s)\n\n{table(rows)}")
    rows = [["task", "MB over the imports", ""]]
    for name, used in result["memory_mb"].items():
        good = "" if used is None else verdict(max(used, 1e-9), MEMORY_MB, at_least=False)
        rows.append([name, "not measured here" if used is None else f"{used:.0f}", good])
    parts.append(f"\n## Memory beyond the mapped file (at most 250 MB)\n\n{table(rows)}")
    return "\n".join(parts) + "\n"


def _three(part: dict[str, float]) -> str:
    return f"{part['median']:.3g} ({part['low']:.3g} … {part['high']:.3g})"


def main() -> None:
    """Measure, print the report and write it beside the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--stores", type=Path, help="folder that keeps the stores")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds per contender and task")
    parser.add_argument("--tasks", type=int, nargs="*", default=list(range(len(TASKS))))
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        folder, task = arguments.memory
        print(json.dumps(memory_of(Path(folder), TASKS[int(task)])))
        return
    stores = arguments.stores or Path(tempfile.mkdtemp(prefix="stores-"))
    data = Path(os.environ["RARESEG_DATA"])
    names = ("rareseg", "numba", "numpy", "torch", "monai", "torchio", "nnunetv2")
    known = [name for name in names if importlib.util.find_spec(name)]
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} processors, one used; "
        + ", ".join(f"{name} {version(name)}" for name in known),
        "tasks": [],
        "index": [],
        "memory_mb": {},
    }
    for number in arguments.tasks:
        task = TASKS[number]
        folder = stores / task.data
        store = rs.build_store(rs.open_dataset(data / task.data), folder)
        result["tasks"].append(
            run_task(store, task, rounds=arguments.rounds, budget=arguments.budget)
        )
        result["index"] += index_rows(store, task)
        result["memory_mb"][task.name] = memory_alone(folder, number)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = markdown(result)
    (arguments.out / "sampling.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (arguments.out / "sampling.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
