"""Is there a way of sampling that wins every column? Candidates are chosen, and one is confirmed.

Every data set is divided once, by groups, into a part for development and a part that is kept
aside. On the first, every row is trained fold by fold and candidates are chosen by eye and table;
on the second the one that was chosen is compared with random, balanced and hard examples, once,
with seeds that no earlier training had. The built-in set is drawn anew for it, and once more with
other seeds for each later round. Resumable: call it again.

    python benchmarks/every_column.py development --sets lumps,hippocampus --out results
    python benchmarks/every_column.py confirmation --candidate hard_half --out results
    python benchmarks/every_column.py confirmation --round 2 --candidate half_small --out results
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rareseg as rs
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.splits import make_split
from rareseg.report.pages.comparison_page import comparison_lines, non_inferiority_sentence
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.setup.run_folder import DataOptions
from rareseg.study.compare import ComparisonOptions, compare
from rareseg.study.comparison_rows import make_rows
from rareseg.study.shared_data import StudyOptions

RIVALS = ("random", "balanced", "hard")
CANDIDATES = {
    "decoupled": "sampling.strategy=decoupled",
    "hard_half": "sampling.strategy=hard,mining.hard_share=0.5",
    "hard_wrong_only": "sampling.strategy=hard,mining.confidence=0",
    "hard_quarter": "sampling.strategy=hard,mining.hard_share=0.25",
    "half_wrong": "sampling.strategy=hard,mining.hard_share=0.5,mining.confidence=0",
    "half_then_natural": (
        "sampling.phases=[{strategy: hard, until: 0.8}, {strategy: random, until: 1}],"
        "mining.hard_share=0.5"
    ),
    "negatives": "sampling.strategy=negatives",
    "random_small": "sampling.strategy=random,SMALL",
    "balanced_small": "sampling.strategy=balanced,SMALL",
    "hard_small": "sampling.strategy=hard,SMALL",
    "half_small": "sampling.strategy=hard,mining.hard_share=0.5,SMALL",
    "half_batch": "sampling.strategy=hard,mining.hard_share=0.5,network.norm=batch",
    "quarter_small": "sampling.strategy=hard,mining.hard_share=0.25,SMALL",
    "hard_smallest": "sampling.strategy=hard,SMALLEST",
    "hard_large": "sampling.strategy=hard,LARGE",
}
"""The rows; SMALL, SMALLEST and LARGE are a data set's windows of as many voxels in all."""
FRESH = 100
"""The first seed of a confirmation."""


@dataclass(frozen=True)
class Setting:
    """How one data set is trained, in development and in confirmation."""

    shared: tuple[str, ...]
    windows: Mapping[str, str]
    folds: int
    seeds: int
    fresh_seeds: int

    def rows(self, names: Sequence[str]) -> list[str]:
        """Return the candidates as rows, with this data set's windows."""
        rows = [f"{name}:{CANDIDATES[name]}" for name in names]
        for name, windows in self.windows.items():
            rows = [re.sub(rf"\b{name}\b", windows, row) for row in rows]
        return rows


def windows(patch_size: Sequence[int], batch_size: int, *, norm: str = "batch") -> str:
    """Return settings of windows of another size."""
    sizes = f"sampling.patch_size={list(patch_size)},sampling.batch_size={batch_size}"
    return f"{sizes},network.norm={norm}"


SETS = {
    "lumps": Setting(
        (
            "sampling.patch_size=[64, 64]",
            "sampling.batch_size=16",
            "network.width=[16, 32, 64]",
            "training.steps=600",
        ),
        {
            "SMALL": windows((48, 48), 28),
            "SMALLEST": windows((32, 32), 64),
            "LARGE": windows((96, 96), 7, norm="group"),
        },
        folds=1,
        seeds=3,
        fresh_seeds=5,
    ),
    "hippocampus": Setting(
        # Groups are what the plan chose for three windows a batch when this was measured.
        (
            "network.width=[16, 32, 64]",
            "network.norm=group",
            "training.steps=400",
            "training.validations=1",
        ),
        {
            "SMALL": windows((24, 32, 24), 8),
            "SMALLEST": windows((16, 24, 16), 24),
            "LARGE": windows((40, 48, 40), 2),
        },
        folds=3,
        seeds=1,
        fresh_seeds=3,
    ),
    "magnetic-tile": Setting(
        ("training.steps=600", "training.validations=2"),
        {
            "SMALL": windows((96, 96), 22),
            "SMALLEST": windows((64, 64), 50),
            "LARGE": windows((224, 192), 5),
        },
        folds=3,
        seeds=1,
        fresh_seeds=3,
    ),
}
ASIDE = {"train": 0.5, "validation": 0.15, "test": 0.35}
"""The roles of a real data set; what is tested here is what development never sees."""


def divided(name: str, source: Path, out: Path) -> tuple[Path, Path]:
    """Return the manifests for development and for confirmation, written once."""
    folder = out / name
    paths = folder / "development" / "manifest.csv", folder / "confirmation" / "manifest.csv"
    if all(path.is_file() for path in paths):
        return paths
    dataset = rs.open_dataset(source / name)
    fingerprint = inspect_dataset(dataset)
    roles = make_split(fingerprint, shares=ASIDE, seed=2026)
    development = [case for case in dataset.cases if roles[case.id] != "test"]
    for path, cases in zip(paths, (development, dataset.cases), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "labels": dict(dataset.labels or {}),
            "regions": {k: list(v) for k, v in (dataset.regions or {}).items()},
        }
        if record["labels"]:
            (path.parent / "dataset.json").write_text(json.dumps(record), encoding="utf-8")
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            head = ["id", "image", "mask", "group"]
            writer.writerow(head if path == paths[0] else [*head, "split"])
            for case in cases:
                mask = "empty" if case.mask is None else str(case.mask.resolve())
                line = [case.id, str(case.images[0].resolve()), mask, case.group or ""]
                writer.writerow(line if path == paths[0] else [*line, roles[case.id]])
    return paths


def lumps(out: Path, number: int) -> tuple[Path, Path]:
    """Return the built-in set for development and the one drawn anew to confirm in a round."""
    paths = out / "lumps" / "development", out / "lumps" / f"confirmation{_round(number)}"
    drawn = rs.LumpsSettings(images=300, seed=5), rs.LumpsSettings(images=800, seed=2025 + number)
    for path, settings in zip(paths, drawn, strict=True):
        if not (path / "dataset.json").is_file():
            rs.write_lumps(path, settings)
    return paths


def shares(name: str, stage: str) -> tuple[str, ...]:
    """Return the split's settings: as many learn from lumps in both stages, more are tested."""
    if name != "lumps":
        return ("split.train=0.65", "split.validation=0.2", "split.test=0.15")
    if stage == "development":
        return ("split.train=0.5", "split.validation=0.2", "split.test=0.3")
    return ("split.train=0.2", "split.validation=0.1", "split.test=0.7")


def _round(number: int) -> str:
    return "" if number == 1 else f"-{number}"


def main() -> None:
    """Train what is left to train, and print where the tables are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("development", "confirmation"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RARESEG_DATA", ".")))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--candidates", "--candidate", default=",".join(CANDIDATES))
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--seeds", type=int, help="as many fresh seeds, in place of the set's own")
    parser.add_argument(
        "--round",
        type=int,
        default=1,
        help="of confirmation: real data give the groups that are kept aside again, with the same "
        "trainings of the rivals",
    )
    given = parser.parse_args()
    for name in given.sets.split(","):
        setting = SETS[name]
        drawn = name == "lumps"
        paths = lumps(given.out, given.round) if drawn else divided(name, given.data, given.out)
        confirms = given.stage == "confirmation"
        rows = make_rows(RIVALS, setting.rows(given.candidates.split(",")))
        first_seed = (f"training.seed={FRESH * given.round if drawn else FRESH}",)
        options = StudyOptions(
            DataOptions(str(paths[confirms])),
            training_options=TrainingOptions(
                settings=(
                    *setting.shared,
                    *shares(name, given.stage),
                    *(first_seed if confirms else ()),
                )
            ),
            parallel=given.parallel,
        )
        asked = ComparisonOptions(
            options,
            rows,
            seeds=given.seeds or (setting.fresh_seeds if confirms else setting.seeds),
            folds=1 if confirms else setting.folds,
            candidate=given.candidates.split(",")[0] if confirms else "",
        )
        table = f"{given.stage}{_round(given.round) if drawn else ''}-table"
        found = compare(asked, given.out / name / table, say=print)
        for line in (
            *comparison_lines(found.columns),
            *map(non_inferiority_sentence, found.claims),
        ):
            print(line)


if __name__ == "__main__":
    main()
