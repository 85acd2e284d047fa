"""How many planted faults do suspects find, and how many does cleanlab's segmentation score?

Faults at known rates are planted in the labels of built-in data sets, networks are trained on the
spoiled labels in three folds, and every case is looked at by the network that had not seen it.

* ``specks``: objects left out, outlines drawn where nothing is, masks moved by half their width.
* ``look-alikes``: objects left out, and other things that look like objects drawn as objects.
* ``lumps``: parts within parts, with parts given to another class.

Precision and recall are those of all suspects of a kind with a score of at least one half, of all
components of cleanlab's issue mask; average precision ranks suspects by their score, cleanlab's
components by the mean of its pixel scores. A suspect is right where half of the smaller of its box
and the fault's lies in the other; of several at one fault the first counts, the others neither way.
A component of cleanlab's mask has the kind that its place in the label says (:func:`kind_of`).

For larger sides the same cases lie in the middle of a mosaic of images without labels and faults,
predicted by the same network: the same objects, more background. An image score is the largest
score of a suspect in it, and 1 − cleanlab's image score. Needs no data; a few minutes on one core.

    python benchmarks/label_faults.py --out faults

cleanlab, if it is to stand beside: ``pip install --target EXTRA cleanlab`` and PYTHONPATH=EXTRA.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track as progress
from sklearn.metrics import roc_auc_score

from rareseg.data.builtin.label_faults import (
    Box,
    Fault,
    FaultKind,
    FaultSettings,
    load_faults,
    plant_faults,
    save_faults,
)
from rareseg.data.builtin.lumps import LumpsSettings, write_lumps
from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.dataset import open_dataset
from rareseg.decision.operating_point import OperatingPoint
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer
from rareseg.quality.suspects import collect_evidence, judge
from rareseg.run.scores.case_scoring import score_each
from rareseg.run.setup.prepare import Machine, TrainingOptions
from rareseg.run.setup.run_folder import DataOptions, open_run, read_about
from rareseg.run.suspects import plan_scorers
from rareseg.run.train import train
from rareseg_runner.components import label_components
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import Classes

IMAGES, SIDE = 120, 256
SIDES = {"specks": (1024, 4096), "look-alikes": (), "lumps": (1024,)}
STEPS = {"specks": 250, "look-alikes": 250, "lumps": 400}
LUMPS_CONTRAST = 3.0
"""At the usual 1.5 a network of so few steps does not tell the parts apart."""

FEW = 12
"""Cases that are looked at in larger surroundings."""

SETTINGS = (
    "split.train=0.9",
    "split.validation=0.0",
    "split.test=0.1",
    "split.folds=3",
    "data.target_spacing=null",
    "sampling.patch_size=[64, 64]",
    "sampling.batch_size=16",
    "network.width=[16, 32, 64]",
    "training.learning_rate=0.003",
    "training.threads=1",
)


@dataclass(frozen=True)
class View:
    """One case as a network sees it that had not seen it: (class, 1, y, x) and (1, y, x)."""

    case_id: str
    scorer: str
    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    faults: tuple[Fault, ...]

    @property
    def is_clean(self) -> bool:
        return not self.faults and not self.labels.any()


@dataclass(frozen=True)
class Named:
    """A place that somebody suspects."""

    case_id: str
    kind: str
    box: Box
    score: float


def make_world(world: str, folder: Path, contrast: float) -> Path:
    """Write a spoiled data set below ``folder``, with its ``faults.json``, where there is none."""
    spoiled = folder / "spoiled"
    if (spoiled / "faults.json").is_file():
        return spoiled
    specks = SpecksSettings(images=IMAGES, size=SIDE, contrast=contrast, seed=11)
    if world == "specks":
        write_specks(folder / "clean", specks)
        plant_faults(folder / "clean", spoiled, FaultSettings(seed=1))
    elif world == "lumps":
        write_lumps(
            folder / "clean",
            LumpsSettings(images=IMAGES, size=SIDE, contrast=LUMPS_CONTRAST, seed=11),
        )
        rates = FaultSettings(missed=0.08, spurious=0.08, shifted=0.08, swapped=0.2, seed=1)
        plant_faults(folder / "clean", spoiled, rates)
    else:
        write_specks(folder / "clean", specks)
        write_specks(spoiled, replace(specks, missed_share=0.1, spurious_share=0.04))
        save_faults(spoiled / "faults.json", list(differences(folder / "clean", spoiled)))
    return spoiled


def differences(clean: Path, spoiled: Path) -> Iterator[Fault]:
    """Yield what the masks of one data set leave out of, and add to, those of another."""
    for true, drawn in zip(open_dataset(clean).cases, open_dataset(spoiled).cases, strict=True):
        masks = [read_mask(case.mask).array > 0 for case in (true, drawn) if case.mask]
        kinds: tuple[FaultKind, ...] = ("missed object", "spurious label")
        for kind, wrong in zip(kinds, (masks[0] & ~masks[1], masks[1] & ~masks[0]), strict=True):
            for box, on in components(wrong):
                yield Fault(true.id, kind, box, int(on.sum()))


def components(mask: NDArray[np.bool_]) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    from scipy import ndimage

    labels, count = label_components(mask)
    for index, box in enumerate(ndimage.find_objects(labels, count), start=1):
        z, y, x = ((int(side.start), int(side.stop)) for side in box)
        yield (z, y, x), labels[box] == index


def views_of(run: Path, faults: Sequence[Fault]) -> tuple[list[View], Model]:
    """Return every case of a run as it is seen out of fold."""
    folder = open_run(run)
    whole = load_model(folder.bundle)
    dataset = DataOptions(**read_about(folder)).open()
    views = [
        View(
            scored.case.id,
            scorer,
            scored.probabilities,
            scored.labels,
            tuple(fault for fault in faults if fault.case_id == scored.case.id),
        )
        for scorer, (model, cases) in plan_scorers(folder, dataset, whole).items()
        for scored in score_each(ModelScorer(model), cases)
    ]
    return views, whole


def surround(view: View, ground: Sequence[View], side: int, rng: np.random.Generator) -> View:
    """Return a case in the middle of a mosaic of what the same network says of empty images."""
    own = [other for other in ground if other.scorer == view.scorer] or list(ground)
    tile = view.labels.shape[-1]
    count = side // tile
    middle = count // 2
    wide = np.empty((len(view.probabilities), 1, side, side), np.float32)
    for row in range(count):
        for column in range(count):
            chosen = own[int(rng.integers(len(own)))]
            chosen = view if row == column == middle else chosen
            y, x = row * tile, column * tile
            wide[:, :, y : y + tile, x : x + tile] = chosen.probabilities
    start = middle * tile
    labels = np.zeros((1, side, side), np.uint8)
    labels[:, start : start + tile, start : start + tile] = view.labels

    def moved(fault: Fault) -> Fault:
        z, (y0, y1), (x0, x1) = fault.box
        return replace(fault, box=(z, (y0 + start, y1 + start), (x0 + start, x1 + start)))

    return replace(view, probabilities=wide, labels=labels, faults=tuple(map(moved, view.faults)))


def ours(
    views: Sequence[View], classes: Classes, points: Mapping[str, OperatingPoint]
) -> list[Named]:
    """Return the suspects."""
    all_evidence = [
        evidence
        for view in views
        for evidence in collect_evidence(
            view.probabilities,
            view.labels,
            classes,
            points,
            case_id=view.case_id,
            scorer=view.scorer,
        )
    ]
    suspects = judge(all_evidence, classes)
    return [Named(s.case_id, s.kind, s.box, s.score) for s in suspects]


def theirs(views: Sequence[View], classes: Classes) -> tuple[list[Named], list[float]]:
    """Return the components of cleanlab's issue mask, and 1 − its image scores."""
    from cleanlab.segmentation.filter import find_label_issues
    from cleanlab.segmentation.rank import get_label_quality_scores

    labels = np.stack([view.labels[0] for view in views])
    probabilities = np.stack([view.probabilities[:, 0] for view in views])
    issues = find_label_issues(labels, probabilities, n_jobs=1, verbose=False)
    named, images = [], []
    for index, view in enumerate(views):
        part = slice(index, index + 1)
        image, pixels = get_label_quality_scores(labels[part], probabilities[part], verbose=False)
        images.append(1.0 - float(image[0]))
        drawn, _ = label_components(view.labels > 0)
        for box, on in components(issues[part]):
            at = tuple(slice(low, high) for low, high in box)
            kind = kind_of(box, on, view, drawn)
            named.append(Named(view.case_id, kind, box, 1.0 - float(pixels[at][on].mean())))
    return sorted(named, key=lambda place: -place.score), images


def kind_of(box: Box, on: NDArray[np.bool_], view: View, drawn: NDArray[np.uint32]) -> FaultKind:
    """Say what a component of an issue mask would be a fault of, by where it lies in the label.

    On nothing and away from what is drawn: a missed object. On what is drawn: a wrong class where
    the network says another class, a spurious label where it covers half of an object. Else a wrong
    boundary.
    """
    at = tuple(slice(low, high) for low, high in box)
    wide = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in at)
    given = view.labels[at][on]
    if (given > 0).mean() < 0.5:
        return "wrong boundary" if drawn[wide].any() else "missed object"
    if (view.probabilities[(slice(None), *at)].argmax(axis=0)[on] > 0).mean() >= 0.5:
        return "wrong class"
    component = np.bincount(drawn[at][on])[1:].argmax() + 1
    covered = (drawn[at][on] == component).sum() / (drawn == component).sum()
    return "spurious label" if covered >= 0.5 else "wrong boundary"


def is_at(place: Named, fault: Fault) -> bool:
    if place.case_id != fault.case_id:
        return False
    common = own = other = 1
    for (low, high), (start, end) in zip(place.box, fault.box, strict=True):
        common *= max(0, min(high, end) - max(low, start))
        own, other = own * (high - low), other * (end - start)
    return 2 * common >= min(own, other)


@dataclass(frozen=True)
class Judged:
    """How good a list is: at its cut, and as a ranking."""

    precision: float
    recall: float
    average: float

    def __str__(self) -> str:
        shown = ("–" if np.isnan(v) else f"{v:.2f}" for v in (self.precision, self.recall))
        return f"{' | '.join(shown)} | {self.average:.2f}"


def judge_list(named: Sequence[Named], faults: Sequence[Fault], *, cut: float) -> Judged:
    """Return precision and recall of what scores ``cut`` or more, and the average precision."""
    found: set[int] = set()
    right = listed = 0
    precision = recall = average = 0.0
    kept = [place for place in named if place.score >= cut]
    for place in named:
        at = [number for number, fault in enumerate(faults) if is_at(place, fault)]
        new = [number for number in at if number not in found]
        if at and not new:
            continue
        listed += 1
        if new:
            found.add(new[0])
            right += 1
            average += right / listed
        if place.score >= cut:
            precision, recall = right / listed, right / len(faults)
    return Judged(precision if kept else float("nan"), recall, average / len(faults))


def image_auc(scores: Sequence[float], views: Sequence[View]) -> float:
    """Return how well image scores tell images with faults from those without."""
    spoiled = [bool(view.faults) for view in views]
    return float(roc_auc_score(spoiled, scores)) if len(set(spoiled)) == 2 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("label-faults"))
    parser.add_argument("--worlds", default="specks,look-alikes,lumps")
    parser.add_argument("--steps", type=int, help="of each network; those of STEPS if not given")
    parser.add_argument("--contrast", type=float, default=1.8, help="of specks; 2.5 is easy")
    options = parser.parse_args()
    peer = importlib.util.find_spec("cleanlab") is not None
    if not peer:
        print("cleanlab is not installed, so that its columns are empty.")
    lines, images = [], []
    started = time.monotonic()
    for world in options.worlds.split(","):
        folder = options.out / world
        spoiled = make_world(world, folder, options.contrast)
        training_options = TrainingOptions(
            settings=(*SETTINGS, f"training.steps={options.steps or STEPS[world]}")
        )
        train(
            spoiled,
            folder / "run",
            training_options=training_options,
            machine=Machine("cpu"),
            say=print,
        )
        views, model = views_of(folder / "run", load_faults(spoiled / "faults.json"))
        points = load_decisions(open_run(folder / "run").bundle).points
        few = [v for v in views if v.faults][: FEW - FEW // 3]
        few += [v for v in views if not v.faults][: FEW // 3]
        ground = [view for view in views if view.is_clean]
        for side in (None, SIDE, *SIDES[world]):
            looked: list[View] = views if side is None else few
            if side is not None and not SIDES[world]:
                continue
            if side not in (None, SIDE):
                rng = np.random.default_rng(0)
                looked = [
                    surround(view, ground, side, rng)
                    for view in progress(few, f"{world} at {side}²", transient=True)
                ]
            begun = time.monotonic()
            own = ours(looked, model.classes, points)
            taken = time.monotonic() - begun
            other, scores = theirs(looked, model.classes) if peer else ([], [])
            spent = time.monotonic() - begun - taken
            faults = [fault for view in looked for fault in view.faults]
            where = f"{world} | {side or SIDE}², {len(looked)} images"
            for kind in (*sorted({fault.kind for fault in faults}), "any kind"):
                wanted = [f for f in faults if kind in (f.kind, "any kind")]
                mine, yours = (
                    judge_list([p for p in named if kind in (p.kind, "any kind")], wanted, cut=cut)
                    for named, cut in ((own, 0.5), (other, 0.0))
                )
                beside = str(yours) if peer else "– | – | –"
                lines.append(f"| {where} | {kind} | {len(wanted)} | {mine} | {beside} |")
            best = [
                max((p.score for p in own if p.case_id == v.case_id), default=0.0) for v in looked
            ]
            for name, image_scores, seconds in (
                ("suspects", best, taken),
                ("cleanlab", scores, spent),
            ):
                if image_scores:
                    with_faults = [s for s, v in zip(image_scores, looked, strict=True) if v.faults]
                    without = [s for s, v in zip(image_scores, looked, strict=True) if not v.faults]
                    images.append(
                        f"| {where} | {name} | {np.mean(with_faults):.3f} | {np.mean(without):.3f} "
                        f"| {image_auc(image_scores, looked):.2f} | {seconds:.0f} s |"
                    )
            del looked
    print(
        "\n| world | side | kind | faults | precision | recall | AP | cleanlab: precision "
        "| recall | AP |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    print("\n| world | side | score | images with faults | without | AUC | time |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(images))
    print(f"\n{time.monotonic() - started:.0f} s in all, what was trained before not counted.")


if __name__ == "__main__":
    main()
