"""How fast cases are evaluated, and how exactly: against the usual libraries, interleaved.

Every contender gets the same arrays, in one process and on one thread; what is compared is the
processor time of the process, so that other work on the machine counts little. Rounds are
interleaved, and medians are printed with the smallest and largest ratio of a round.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py [--rounds 5] [--only curves,grid]

scikit-learn and MONAI are needed; torchmetrics and panoptica are compared where they are installed
(`pip install torchmetrics panoptica`). The volume is drawn: 155 × 240 × 240 voxels, four nested
classes in about 2 % of them, a prediction that is moved, ragged and has stray specks.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import (
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
    get_confusion_matrix,
)
from scipy import ndimage
from sklearn import metrics as sklearn_metrics

from rareseg.evaluation.metrics.confusion_matrix import confuse
from rareseg.evaluation.metrics.objects import match_objects
from rareseg.evaluation.metrics.overlap import (
    accuracy,
    average_precision,
    best_dice,
    dice,
    false_negative_rate,
    iou,
    pooled_curve,
    precision,
    precision_recall,
    recall,
    roc,
    roc_auc,
    specificity,
)
from rareseg.evaluation.metrics.point_grid import point_grid
from rareseg.evaluation.metrics.surface_distance import measure_surfaces
from rareseg.evaluation.tables.component_table import GRID, ComponentTable, components_of_case
from rareseg.evaluation.tables.score_table import score_case
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg_runner.components import label_components

SHAPE = (155, 240, 240)
NAMES = ("background", "one", "two", "three", "four")
SPACING = (2.0, 1.0, 1.0)

Contenders = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Drawn:
    """One volume: label maps, and the score of "anything" under two kinds of network."""

    reference: np.ndarray
    prediction: np.ndarray
    smooth: np.ndarray
    saturated: np.ndarray


def draw(seed: int = 0) -> Drawn:
    """Draw the volume that everything is measured on."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    wave = ndimage.zoom(rng.normal(0, 1, (16, 24, 24)), 10)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]

    def depth(centre, radius, noise):
        far = sum((a - c) ** 2 for a, c in zip((z * 1.3, y, x), centre, strict=True))
        return radius - np.sqrt(far) + noise

    reference = np.zeros(SHAPE, np.uint8)
    prediction = np.zeros(SHAPE, np.uint8)
    true_depth = np.maximum(depth((90, 110, 100), 34, 4 * wave), depth((60, 60, 170), 12, 2 * wave))
    ragged = rng.normal(0, 0.7, SHAPE)
    our_depth = np.maximum(
        depth((91, 111, 102), 33, 4 * wave + ragged), depth((60, 61, 171), 11, 2 * wave + ragged)
    )
    for label, level in enumerate((0, 8, 14, 20), start=1):
        reference[true_depth > level] = label
        prediction[our_depth > level] = label
    for label in range(1, 5):  # stray specks stretch every box
        for _ in range(12):
            a, b, c = (int(rng.integers(2, n - 4)) for n in SHAPE)
            prediction[a : a + 2, b : b + 2, c : c + 2] = label
    logit = our_depth / 3 + rng.normal(0, 1.5, SHAPE)
    return Drawn(
        reference,
        prediction,
        (1 / (1 + np.exp(-logit))).astype(np.float32),
        (1 / (1 + np.exp(-6 * logit))).astype(np.float32),
    )


def interleave(contenders: Contenders, rounds: int) -> dict[str, np.ndarray]:
    """Return each contender's processor seconds per round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            if round_:
                seconds[name].append(time.process_time() - start)
    return {name: np.array(times) for name, times in seconds.items()}


def tell(title: str, seconds: Mapping[str, np.ndarray], targets: Mapping[str, str]) -> None:
    """Print every contender as a multiple of the first."""
    ours, *peers = seconds
    print(f"\n{title}\n  {ours}: {np.median(seconds[ours]) * 1e3:.1f} ms")
    for peer in peers:
        ratios = seconds[peer] / np.maximum(seconds[ours], 1e-9)
        print(
            f"  {peer}: {np.median(seconds[peer]) * 1e3:.1f} ms, ratio {np.median(ratios):.1f} "
            f"({ratios.min():.1f} to {ratios.max():.1f}){targets.get(peer, '')}"
        )


def curves(drawn: Drawn, rounds: int) -> None:
    """All-threshold curves of one volume, and their largest error."""
    labels = drawn.reference > 0
    scores = drawn.smooth
    binary = labels.view(np.uint8)

    def ours():
        curve = pooled_curve([score_case(scores, labels, case_id="a", region="r")])
        return roc(curve), precision_recall(curve), roc_auc(curve), average_precision(curve)

    flat_scores, flat_labels = scores.ravel(), labels.ravel()
    seconds = interleave(
        {
            "rareseg, all curves": ours,
            "scikit-learn, roc_curve + precision_recall_curve": lambda: (
                sklearn_metrics.roc_curve(flat_labels, flat_scores),
                sklearn_metrics.precision_recall_curve(flat_labels, flat_scores),
            ),
            "reading both arrays once": lambda: (scores.max(), binary.max()),
        },
        rounds,
    )
    tell(
        f"All-threshold curves of {scores.size / 1e6:.1f} M voxels",
        seconds,
        {"scikit-learn, roc_curve + precision_recall_curve": "  [target ≥ 400]"},
    )
    read = seconds["rareseg, all curves"] / seconds["reading both arrays once"]
    print(f"  ours in units of reading once: {np.median(read):.1f}  [target ≤ 7]")
    for size in (1, 8):
        part = scores.ravel()[: scores.size // size], labels.ravel()[: scores.size // size]
        tracemalloc.start()
        score_case(*part, case_id="a", region="r")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"  allocated at most, of 1/{size} of the voxels: {peak / 2**20:.2f} MiB")
    for name, kind in (("smooth", drawn.smooth), ("saturated", drawn.saturated)):
        curve = pooled_curve([score_case(kind, labels, case_id="a", region="r")])
        fpr, tpr, _ = sklearn_metrics.roc_curve(flat_labels, kind.ravel())
        precision, recall, _ = sklearn_metrics.precision_recall_curve(flat_labels, kind.ravel())
        with np.errstate(invalid="ignore"):
            dice = np.nanmax(2 * precision * recall / (precision + recall))
        errors = (
            abs(roc_auc(curve) - sklearn_metrics.auc(fpr, tpr)),
            abs(average_precision(curve) + np.sum(np.diff(recall) * precision[:-1])),
            abs(best_dice(curve)[0] - dice),
        )
        shown = " / ".join(f"{error:.0e}" for error in errors)
        print(f"  error of AUC / AP / best dice, {name}: {shown}  [target ≤ 1e-4]")


def one_hot(labels: np.ndarray) -> torch.Tensor:
    """Return a label map as MONAI takes it, (1, C, Z, Y, X)."""
    return torch.from_numpy(np.stack([labels == c for c in range(len(NAMES))])[None]).float()


def overlap(drawn: Drawn, rounds: int) -> None:
    """Every overlap metric of five classes from two label maps."""
    prediction, reference = drawn.prediction, drawn.reference

    def ours():
        found = confuse(prediction, reference, NAMES)
        every = (dice, iou, precision, recall, specificity, accuracy, false_negative_rate)
        return [metric(found.counts([c])) for c in range(5) for metric in every]

    def monai():
        a, b = one_hot(prediction), one_hot(reference)
        return compute_dice(a, b), compute_iou(a, b), get_confusion_matrix(a, b)

    contenders: dict[str, Callable[[], object]] = {
        "rareseg, confusion and all metrics": ours,
        "MONAI, dice + iou + confusion": monai,
    }
    try:
        from torchmetrics.functional import classification as torch_metrics
    except ImportError:
        print("\ntorchmetrics is not installed and is not compared.")
    else:
        a, b = torch.from_numpy(prediction).long(), torch.from_numpy(reference).long()
        contenders["torchmetrics, confusion"] = lambda: torch_metrics.multiclass_confusion_matrix(
            a, b, 5
        )
        contenders["torchmetrics, dice (F1) + iou + confusion"] = lambda: (
            torch_metrics.multiclass_f1_score(a, b, 5, average="none"),
            torch_metrics.multiclass_jaccard_index(a, b, 5, average="none"),
            torch_metrics.multiclass_confusion_matrix(a, b, 5),
        )
    flat = reference.ravel(), prediction.ravel()
    contenders["scikit-learn, confusion"] = lambda: sklearn_metrics.confusion_matrix(*flat)
    targets = {
        "MONAI, dice + iou + confusion": "  [target ≥ 250]",
        "torchmetrics, dice (F1) + iou + confusion": "  [target ≥ 150]",
        "scikit-learn, confusion": "  [target ≥ 120]",
    }
    tell("Overlap metrics, 5 classes", interleave(contenders, rounds), targets)
    theirs = sklearn_metrics.confusion_matrix(*flat)
    same = np.array_equal(confuse(prediction, reference, NAMES).matrix, theirs)
    print(f"  the same matrix as scikit-learn's: {same}")


def surfaces(drawn: Drawn, rounds: int) -> None:
    """95 % Hausdorff distance and surface dice of four classes."""
    masks = [(drawn.prediction == c, drawn.reference == c) for c in range(1, 5)]
    a, b = one_hot(drawn.prediction), one_hot(drawn.reference)

    def ours():
        return [measure_surfaces(*pair, spacing=SPACING, tolerance_mm=2.0) for pair in masks]

    def monai():
        distance = compute_hausdorff_distance(a, b, percentile=95, spacing=SPACING)
        return distance, compute_surface_dice(a, b, [2.0] * 4, spacing=SPACING)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds = interleave({"rareseg": ours, "MONAI": monai}, min(rounds, 3))
        distances, dices = monai()
    tell("95 % Hausdorff + surface dice, 4 classes", seconds, {"MONAI": "  [target ≥ 9]"})
    found = ours()
    gap = max(
        np.abs(np.array([f.hausdorff_95_mm for f in found]) / distances[0].numpy() - 1).max(),
        np.abs(np.array([f.surface_dice for f in found]) / dices[0].numpy() - 1).max(),
    )
    print(f"  largest relative difference of a value: {gap:.0e}")


def objects(drawn: Drawn, rounds: int) -> None:
    """Components of both masks, matched."""
    prediction, reference = drawn.prediction > 0, drawn.reference > 0
    contenders: dict[str, Callable[[], object]] = {
        "rareseg": lambda: match_objects(reference, prediction)
    }
    try:
        import panoptica
    except ImportError:
        print("\npanoptica is not installed and is not compared.")
        return
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.SEMANTIC,
        instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
        instance_matcher=panoptica.NaiveThresholdMatching(),
        instance_metrics=[],
        global_metrics=[],
        verbose=False,
    )
    ours, theirs = prediction.view(np.uint8), reference.view(np.uint8)

    def peer():
        return evaluator.evaluate(ours, theirs, result_all=False, verbose=False)["ungrouped"]

    contenders["panoptica"] = peer
    tell("Object matching", interleave(contenders, rounds), {"panoptica": "  [target ≥ 3.5]"})
    found, result = match_objects(reference, prediction), peer()
    print(
        f"  components of the reference {len(found.sizes)} and {result.n_ref_instances}, "
        f"of the prediction {len(found.predicted_sizes)} and {result.n_pred_instances}"
    )


def grid(drawn: Drawn, rounds: int) -> None:
    """Component tables, and the joint search over thresholds × sizes × gates for 500 cases."""
    part = (slice(None), slice(20, 212), slice(20, 212))
    scores, labels = drawn.smooth[part], drawn.reference[part] > 0
    edges = bin_edges()[list(GRID)]

    def labelling():
        for edge in edges:
            label_components(scores >= edge)

    contenders = {
        "rareseg, one component table": lambda: components_of_case(
            scores, labels, case_id="a", region="r"
        ),
        f"cc3d at each of {len(GRID)} thresholds": labelling,
    }
    tell("Components at every threshold", interleave(contenders, 1), {})
    rng = np.random.default_rng(0)
    rows = []
    for i in range(500):
        field = ndimage.gaussian_filter(rng.normal(0, 1, (128, 128)), 3)
        field = field / field.std() * 3 - 6 + rng.normal(0, 0.5, field.shape)
        rows.append(
            components_of_case(
                (1 / (1 + np.exp(-field))).astype(np.float32),
                (field > 0) & (i % 2 == 0),
                case_id=f"{i:03}",
                region="r",
            )
        )
    table = ComponentTable(tuple(rows))
    sizes = (0, *(round(2 ** (k / 2)) for k in range(2, 16)))

    def search():
        found = point_grid(table, region="r", smallest=sizes)
        positive = found.is_positive
        dice = 2 * found.tp / np.maximum(found.tp + found.fp + found.n_inside[:, None, None], 1)
        alarm = (found.fp > 0).astype(np.float64)
        gain = np.where(
            positive[:, None, None], dice / positive.sum(), -alarm / max((~positive).sum(), 1)
        )
        by_gate = np.cumsum(gain[np.argsort(-found.image_scores)], axis=0)
        return by_gate.max(), by_gate.size

    times = interleave({"search": search}, rounds)["search"]
    n = sum(len(row.sizes) for row in rows)
    print(
        f"\nTune over {search()[1] / 1e6:.2f} M points (500 gates × {len(GRID)} thresholds × "
        f"{len(sizes)} sizes) of 500 cases with {n} components: {np.median(times):.2f} s  "
        "[target: seconds]"
    )


PARTS = {
    "curves": curves,
    "overlap": overlap,
    "surfaces": surfaces,
    "objects": objects,
    "grid": grid,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    drawn = draw()
    present = (drawn.reference > 0).mean()
    print(f"{drawn.reference.size / 1e6:.1f} M voxels, {present:.1%} in a class")
    for name in options.only.split(","):
        PARTS[name](drawn, options.rounds)


if __name__ == "__main__":
    main()
