"""How many planted faults does an audit find, and how much does it say that is not so?

Faults of one kind at a time are planted at known rates into the built-in data sets, which hold
none: masks shifted or mirrored against their image, islands of one voxel, small holes, frames along
a side, copies of an image (exposed anew) with a mask that differs, copies in another group, and
negatives that are smoother than what lies around the positives. Precision and recall are counted
over cases (pairs, for copies), against what was planted. The same audit of the data without faults
says how often it raises a false alarm. Needs no data; with --real, masks of the photographs in
crackforest and magnetic-tile (below RARESEG_DATA) are shifted and mirrored as well.

    python benchmarks/audit_faults.py --seeds 2 --real
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

from rareseg.data.builtin.lumps import LumpsSettings, write_lumps
from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.dataset import open_dataset
from rareseg.quality.audit import Move, audit_dataset
from rareseg_runner.formats import read_image, read_mask

Key = str | frozenset[str]


@dataclass
class Case:
    """One case while faults are planted: ``image`` (C, y, x), ``mask`` (y, x) of mask values."""

    id: str
    group: str
    image: np.ndarray
    mask: np.ndarray


@dataclass
class Planted:
    """The cases with their faults, and which cases or pairs hold one; ``None``: the whole set."""

    cases: list[Case]
    where: set[Key] | None = field(default_factory=set)


REAL = ("crackforest", "magnetic-tile")


def load(folder: Path, kind: str, images: int, seed: int) -> list[Case]:
    """Write a built-in data set and return its cases; of a real one return the positives."""
    if kind in REAL:
        read = [
            Case(
                case.id,
                case.group or case.id,
                read_image(case.images).array[:1, 0],
                read_mask(case.mask).array[0].copy(),
            )
            for case in open_dataset(Path(os.environ["RARESEG_DATA"]) / kind).cases
        ]
        return [case for case in read if case.mask.any()]
    if kind == "specks":
        write_specks(folder, SpecksSettings(images=images, seed=seed))
    else:
        write_lumps(folder, LumpsSettings(images=images, seed=seed))
    return [
        Case(
            case.id,
            case.group or case.id,
            np.stack([np.asarray(Picture.open(path)) for path in case.images]),
            np.asarray(Picture.open(case.mask)).copy(),
        )
        for case in open_dataset(folder).cases
    ]


def save(folder: Path, cases: list[Case]) -> Path:
    """Write cases as a manifest with one file a channel."""
    folder.mkdir()
    n_channels = len(cases[0].image)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [f"image_{k}" for k in range(n_channels)]
        writer.writerow(["id", *names, "mask", "group"])
        for case in cases:
            files = [f"{case.id}_{k}.png" for k in range(n_channels)]
            for name, channel in zip(files, case.image, strict=True):
                Picture.fromarray(channel).save(folder / name)
            Picture.fromarray(case.mask).save(folder / f"{case.id}_mask.png")
            writer.writerow([case.id, *files, f"{case.id}_mask.png", case.group])
    return folder


def chosen(cases: list[Case], rate: float, rng: np.random.Generator) -> list[Case]:
    """Return a share of the positive cases."""
    positive = [case for case in cases if case.mask.any()]
    picked = rng.choice(len(positive), max(1, round(rate * len(positive))), replace=False)
    return [positive[k] for k in picked]


def moved(cases: list[Case], rate: float, rng: np.random.Generator, draw: Callable) -> Planted:
    """Move masks; one that leaves less than half of itself in the image is drawn again."""
    where: set[Key] = set()
    for case in chosen(cases, rate, rng):
        for _ in range(20):
            mask = draw(rng).apply(case.mask[None])[0]
            if (mask > 0).sum() >= 0.5 * (case.mask > 0).sum():
                case.mask = mask
                where.add(case.id)
                break
    return Planted(cases, where)


def shifted(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Shift masks by 5 to 20 pixels along y and x."""

    def draw(rng: np.random.Generator) -> Move:
        y, x = rng.integers(5, 21, 2) * rng.choice([-1, 1], 2)
        return Move((0, int(y), int(x)))

    return moved(cases, rate, rng, draw)


def mirrored(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Mirror masks along y or x, or exchange y and x."""
    kinds = (Move(flips=(1,)), Move(flips=(2,)), Move(flips=(1, 2)), Move(transposed=True))
    return moved(cases, rate, rng, lambda rng: kinds[rng.integers(len(kinds))])


def islands(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Draw one to four single pixels far from what is drawn."""
    where: set[Key] = set()
    for case in chosen(cases, rate, rng):
        for _ in range(rng.integers(1, 5)):
            clear = ndimage.distance_transform_edt(case.mask == 0) > 3
            clear[[0, -1]] = clear[:, [0, -1]] = False
            y, x = np.nonzero(clear)
            k = rng.integers(len(y))
            case.mask[y[k], x[k]] = case.mask.max()
        where.add(case.id)
    return Planted(cases, where)


def holes(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Rub out one to four pixels inside an object."""
    where: set[Key] = set()
    for case in chosen(cases, rate, rng):
        inside = ndimage.distance_transform_edt(case.mask > 0) >= 3
        y, x = np.nonzero(inside)
        if len(y):
            k = rng.integers(len(y))
            height, width = rng.integers(1, 3, 2)
            case.mask[y[k] : y[k] + height, x[k] : x[k] + width] = 0
            where.add(case.id)
    return Planted(cases, where)


def frames(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Draw a strip of one to three pixels along a side."""
    where: set[Key] = set()
    for case in chosen(cases, rate, rng):
        width = int(rng.integers(1, 4))
        side = (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:])
        case.mask[side[rng.integers(4)]] = case.mask.max()
        where.add(case.id)
    return Planted(cases, where)


def copy_of(case: Case, rng: np.random.Generator, group: str) -> Case:
    """Return the same scene at another exposure, with a little noise."""
    grey = case.image * rng.uniform(0.75, 1.2) + rng.uniform(-15, 15)
    grey = np.clip(grey + rng.normal(0, 2, grey.shape), 0, 255).astype(np.uint8)
    return Case(f"{case.id}_again", group, grey, case.mask.copy())


def differing(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Add copies; of half of them the mask is empty, half as large, or lies elsewhere."""
    where: set[Key] = set()
    for number, case in enumerate(chosen(cases, 2 * rate, rng)):
        copy = copy_of(case, rng, case.group)
        cases.append(copy)
        if number % 2:
            kind = rng.integers(3)
            if kind == 0:
                copy.mask[:] = 0
            elif kind == 1:
                distance = ndimage.distance_transform_edt(copy.mask > 0)
                copy.mask[distance < 0.6 * distance.max()] = 0
            else:
                copy.mask = Move((0, 15, -15)).apply(copy.mask[None])[0]
            where.add(frozenset((case.id, copy.id)))
    return Planted(cases, where)


def leaking(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Add copies under another group."""
    where: set[Key] = set()
    for case in chosen(cases, rate, rng):
        copy = copy_of(case, rng, f"{case.group}b")
        cases.append(copy)
        where.add(frozenset((case.id, copy.id)))
    return Planted(cases, where)


def poor_negatives(cases: list[Case], rate: float, rng: np.random.Generator) -> Planted:
    """Smooth all negatives, so that what lies around the positives occurs in none."""
    for case in cases:
        if not case.mask.any():
            grey = [ndimage.gaussian_filter(channel, 2.0) for channel in case.image]
            case.image = np.stack(grey)
    return Planted(cases, None)


FAULTS: dict[str, tuple[str, Callable[[list[Case], float, np.random.Generator], Planted]]] = {
    "masks shifted by 5 to 20 pixels": ("shifted-masks", shifted),
    "masks mirrored or turned": ("flipped-masks", mirrored),
    "islands of one pixel": ("one-voxel-islands", islands),
    "holes of 1 to 4 pixels": ("small-holes", holes),
    "strips along a side": ("drawn-frames", frames),
    "copies with other masks": ("differing-masks", differing),
    "copies in other groups": ("look-alikes-across-groups", leaking),
    "negatives without texture": ("negatives-without-variety", poor_negatives),
}
ON_REAL = {"shifted-masks", "flipped-masks"}
EXPECTED = {"touching-border", "ungrouped-cases", "few-cases", "no-negatives"}
"""Notes that are true of the data without faults."""


def findings_of(folder: Path) -> dict[str, set[Key]]:
    """Audit a folder; return the cases, or pairs, of every finding."""
    audit = audit_dataset(open_dataset(folder))
    return {
        finding.name: {
            frozenset((sight.case_id, sight.other)) if sight.other else sight.case_id
            for sight in finding.sights
        }
        for finding in audit.findings
    }


def main() -> None:
    """Plant, audit, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--rate", type=float, default=0.1, help="share of the positive cases")
    parser.add_argument("--real", action="store_true", help="real photographs as well")
    parser.add_argument("--only", nargs="*", default=[], help="names of findings")
    parser.add_argument("--out", type=Path, help="a folder for the counts as JSON")
    arguments = parser.parse_args()
    counts: dict[tuple[str, str], np.ndarray] = {}
    alarms: dict[str, list[str]] = {}
    for kind in ("specks", "lumps", *(REAL if arguments.real else ())):
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory(prefix="audit-faults-") as name:
                folder = Path(name)
                clean = load(folder / "built-in", kind, arguments.images, seed)
                said = findings_of(save(folder / "clean", clean))
                if kind in REAL:  # where islands and holes are real
                    said = {name: said[name] for name in set(said) & ON_REAL}
                alarms.setdefault(kind, []).extend(sorted(set(said) - EXPECTED))
                for number, (words, (finding, plant)) in enumerate(FAULTS.items()):
                    if (arguments.only and finding not in arguments.only) or (
                        kind in REAL and finding not in ON_REAL
                    ):
                        continue
                    print(f"{kind}, seed {seed}: {words}", file=sys.stderr)
                    rng = np.random.default_rng([seed, number])
                    copies = [Case(c.id, c.group, c.image.copy(), c.mask.copy()) for c in clean]
                    planted = plant(copies, arguments.rate, rng)
                    said = findings_of(save(folder / f"fault {number}", planted.cases))
                    found = said.get(finding, set())
                    if planted.where is None:
                        row = np.array([finding in said, finding in said, 1, 0])
                    else:
                        hit = len(found & planted.where)
                        row = np.array([hit, len(found), len(planted.where), 0])
                    row[3] = len(set(said) - EXPECTED - {finding})
                    counts[kind, words] = counts.get((kind, words), 0) + row
    print("| data | planted | finder | planted | found | precision | recall |")
    print("|---|---|---|---|---|---|---|")
    for (kind, words), (hit, found, there, _) in counts.items():
        precision = f"{hit / found:.2f}" if found else "undefined (nothing found)"
        print(
            f"| {kind} | {words} | `{FAULTS[words][0]}` | {there} | {found} | {precision} | "
            f"{hit / there:.2f} |"
        )
    for kind, names in alarms.items():
        said = ", ".join(names) or "none"
        print(f"\nFalse findings in {arguments.seeds} clean sets of {kind}: {said}.")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        record = {
            f"{kind}: {words}": dict(
                zip(("hit", "found", "planted", "others"), row.tolist(), strict=True)
            )
            for (kind, words), row in counts.items()
        }
        (arguments.out / "audit_faults.json").write_text(
            json.dumps({"counts": record, "alarms": alarms}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
