"""Check the watch: alarms in unchanged streams, how soon a change is noticed, certificates.

Images are observed once in each condition (darker, blurred, on another background) by a trained
model. Reference and stream are then drawn from their groups anew for every stream, independently
and with replacement, so that they are exchangeable where nothing is changed. An unchanged stream of
365 groups is looked at after each. The table says how many of the changed streams are noticed, and
after how many groups. `--certificates` draws deployments besides: groups are drawn by the plan of
`--label` and answered from the true masks, a point is certified on them, and its true false-alarm
rate in the whole is compared with the bound.

    python benchmarks/monitoring.py
    python benchmarks/monitoring.py --run RUN --images DATA     # a run of your own, with masks

Without a run a small network is trained on *specks*, on the groups that are not watched.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import rareseg
from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.case_files import read_case_image, read_case_mask
from rareseg.data.records import Case
from rareseg.decision.guarantees.group_losses import Path as Points
from rareseg.decision.guarantees.group_losses import case_loss
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.decision.guarantees.point_path import path_to
from rareseg.decision.guarantees.risk_control import reach_of_sums
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.monitoring.change_test import ALPHA, find_change
from rareseg.monitoring.label_plan import plan_labels
from rareseg.monitoring.observed_features import Observation, ObservedFeature, by_group, observe
from rareseg.run.scores.case_scoring import score_all
from rareseg.run.scores.score_source import read_tables
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.setup.run_folder import DataOptions, read_about
from rareseg.run.watching.watched_model import WatchedModel
from rareseg_runner.image_records import Image

Floats = NDArray[np.float64]
Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]

YEAR = 365
SMALL = (
    "network.encoder=none",
    "network.width=[8,16,32]",
    "sampling.patch_size=[64,64]",
    "sampling.batch_size=8",
    "training.steps=400",
    "training.threads=1",
)


def darker(by: float) -> Change:
    return lambda image: image * (1.0 - by)


def blurred(pixels: float) -> Change:
    return lambda image: ndimage.gaussian_filter(image, (0, 0, pixels, pixels))


def on_ramp(strength: float) -> Change:
    """Another background: brighter towards the right, by so many grey values at the edge."""

    def changed(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return image + strength * np.linspace(-0.5, 0.5, image.shape[-1])

    return changed


CONDITIONS: Mapping[str, Change] = {
    "unchanged": lambda image: image,
    "darker by 5 %": darker(0.05),
    "darker by 10 %": darker(0.1),
    "darker by 30 %": darker(0.3),
    "blurred by 0.5 pixels": blurred(0.5),
    "blurred by 1 pixel": blurred(1.0),
    "blurred by 2 pixels": blurred(2.0),
    "background, 10 grey values": on_ramp(10.0),
    "background, 40 grey values": on_ramp(40.0),
}


@dataclass(frozen=True, eq=False)
class Watched:
    """Groups of images as a model observes them: by condition (groups, features)."""

    features: tuple[ObservedFeature, ...]
    groups: Mapping[str, Floats]
    positive: NDArray[np.bool_]
    """Which groups hold anything to be found."""

    def draw(
        self, condition: str, n: int, rng: np.random.Generator, prevalence: float | None = None
    ) -> Floats:
        """Draw groups with replacement; with ``prevalence`` that share of them is positive."""
        rows = self.groups[condition]
        if prevalence is None:
            return rows[rng.integers(len(rows), size=n)]
        inside, outside = np.flatnonzero(self.positive), np.flatnonzero(~self.positive)
        is_in = rng.random(n) < prevalence
        return rows[np.where(is_in, rng.choice(inside, n), rng.choice(outside, n))]


def changed_image(image: Image, change: Change) -> Image:
    array = change(image.array.astype(np.float64))
    low, high = (0, 255) if image.array.dtype == np.uint8 else (array.min(), array.max())
    return replace(image, array=np.clip(np.round(array), low, high).astype(image.array.dtype))


def observe_all(
    model: WatchedModel, cases: Sequence[Case], conditions: Mapping[str, Change] = CONDITIONS
) -> Watched:
    """Observe every case in every condition."""
    found: dict[str, Floats] = {}
    for name, change in conditions.items():
        observed = []
        for case in cases:
            image = changed_image(read_case_image(case), change)
            values, _ = observe(model.detector(image), model.detector.points)
            observed.append(Observation(case.id, case.id, case.group, (), values, {}))
        names, found[name] = by_group(observed, model.features)
        print(f"observed: {name}", file=sys.stderr, flush=True)
    is_positive: dict[str, bool] = {}
    for case in cases:
        mask = read_case_mask(case)
        name = f"image {case.id}" if case.group is None else f"group {case.group}"
        holds = mask is not None and bool(mask.array.any())
        is_positive[name] = is_positive.get(name, False) or holds
    return Watched(model.features, found, np.array([is_positive[name] for name in names]))


def watch(
    world: Watched,
    condition: str,
    *,
    trials: int,
    n_reference: int,
    n_stream: int,
    before: int = 0,
    prevalence: tuple[float, float] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return by stream after how many groups since the change it was noticed; 0 for never.

    ``before`` groups of the stream are unchanged. ``prevalence`` is that of the reference and of
    the changed part. What is noticed before the change counts as -1.
    """
    at = np.zeros(trials, np.int64)
    of_reference, of_stream = prevalence or (None, None)
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial, n_reference, before])
        reference = world.draw("unchanged", n_reference, rng, of_reference)
        first = world.draw("unchanged", before, rng, of_reference)
        then = world.draw(condition, n_stream, rng, of_stream)
        test = find_change(reference, np.concatenate([first, then]), world.features, seed=trial)
        if test.changed:
            noticed = min(test.noticed_at.values())
            at[trial] = noticed - before if noticed > before else -1
    return at


def highest_share(trials: int, alpha: float = ALPHA) -> float:
    """Return α plus three binomial standard errors."""
    return alpha + 3.0 * float(np.sqrt(alpha * (1.0 - alpha) / trials))


def print_table(world: Watched, *, trials: int, n_reference: int, changed_trials: int) -> bool:
    """Print the table; returns whether unchanged streams alarm no more than they may."""
    quiet = watch(world, "unchanged", trials=trials, n_reference=n_reference, n_stream=YEAR)
    share = float((quiet != 0).mean())
    print(
        f"\n{n_reference} reference groups, {len(world.features)} features. Unchanged: alarms in "
        f"{100 * share:.1f} % of {trials} streams of {YEAR} groups (allowed "
        f"{100 * highest_share(trials):.1f} %)\n"
    )
    print("| change | noticed within 30 | within 365 | half of them within | 90 % within |")
    print("|---|---|---|---|---|")
    rows: list[tuple[str, str, int, tuple[float, float] | None]] = []
    for name in CONDITIONS:
        if name != "unchanged":
            rows.append((name, name, 0, None))
    rows.append(("darker by 30 %, after 100 unchanged groups", "darker by 30 %", 100, None))
    share = float(world.positive.mean())
    for factor in (1.5, 2.0, 3.0):
        low = min(share, 1.0 / factor)
        name = f"prevalence of groups {100 * low:.0f} % → {100 * low * factor:.0f} %"
        rows.append((name, "unchanged", 0, (low, low * factor)))
    for name, condition, before, prevalence in rows:
        at = watch(
            world, condition, trials=changed_trials, n_reference=n_reference, n_stream=YEAR,
            before=before, prevalence=prevalence, seed=1,
        )  # fmt: skip
        found = np.sort(np.where(at > 0, at, YEAR + 1)[at >= 0])
        half, most = (found[min(len(found) - 1, int(q * len(found)))] for q in (0.5, 0.9))
        cells = [f"{100 * (found <= limit).mean():.0f} %" for limit in (30, YEAR)]
        ends = [str(n) if n <= YEAR else "–" for n in (half, most)]
        print(f"| {name} | {' | '.join([*cells, *ends])} |", flush=True)
    return float((quiet != 0).mean()) <= highest_share(trials)


def print_certificates(
    model: WatchedModel, cases: Sequence[Case], *, deployments: int, alpha: float
) -> bool:
    """Draw groups by the plan of `--label`, certify on them, and compare with the truth."""
    assert model.folder is not None, "asked for with a run"
    tables = read_tables(model.folder, "validation")
    assert tables is not None, "training wrote them"
    guarantee = make_guarantee("false alarm rate", alpha)
    scored = score_all(model.detector.scorer, cases, role=None)
    kept = True
    for region, point in model.decisions.points.items():
        rows = scored.table.select(region=region).rows
        path = path_to(point, tables[0].select(region=region), guarantee)
        losses, about = group_losses(rows, path, guarantee)
        risk = losses[about].mean(axis=0)
        plan = plan_labels(guarantee, share=float(about.mean()), expected_loss=0.0)
        rng = np.random.default_rng(0)
        broken = answered = 0
        for _ in range(deployments):
            drawn = rng.integers(len(losses), size=plan.drawn)  # the stream: groups drawn anew
            own = losses[drawn][about[drawn]]
            reach = reach_of_sums(
                own.sum(axis=0), len(own), alpha=alpha,
                confidence=guarantee.own_confidence, binary=True,
            )  # fmt: skip
            answered += reach > 0
            broken += reach > 0 and bool(risk[path.best(reach)] > alpha)
        share, limit = broken / deployments, highest_share(deployments)
        kept = kept and share <= limit
        print(
            f"{region}: false alarm rate ≤ {100 * alpha:g} % at 95 %, {plan.drawn} groups drawn in "
            f"each of {deployments} deployments: certified in {100 * answered / deployments:.0f} %,"
            f" above the bound in {100 * share:.1f} % (allowed {100 * limit:.1f} %)"
        )
    return kept


def group_losses(
    rows: Sequence[ScoreTable], path: Points, guarantee: object
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the loss of every group along a path, and which groups the guarantee is about."""
    groups = sorted({row.group or row.case_id for row in rows})
    losses = np.zeros((len(groups), len(path)))
    about = np.zeros(len(groups), np.bool_)
    for row in rows:
        if row.n_inside == 0:
            k = groups.index(row.group or row.case_id)
            about[k] = True
            losses[k] = np.maximum(losses[k], case_loss(row, path, guarantee))
    return losses, about


def specks_run(folder: Path) -> tuple[Path, Path]:
    """Train a small network on specks, and write others to be watched."""
    settings = SpecksSettings(images=160, size=96, contrast=4.0, foreground_share=0.03)
    data = write_specks(folder / "data", settings)
    others = write_specks(folder / "others", replace(settings, images=400, seed=1))
    rareseg.train(
        data,
        folder / "run",
        training_options=TrainingOptions(settings=SMALL),
    )
    return folder / "run", others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--held-out", action="store_true", help="watch the run's own too")
    parser.add_argument("--trials", type=int, default=500, help="unchanged streams")
    parser.add_argument("--changed", type=int, default=200, help="streams of each change")
    parser.add_argument("--reference", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--certificates", type=int, default=0, metavar="DEPLOYMENTS")
    parser.add_argument("--alpha", type=float, default=0.05, help="of certificates")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, images = (asked.run, asked.images) if asked.run else specks_run(Path(folder))
        model = WatchedModel.open(run, "cpu")
        options = DataOptions(str(images)).like(read_about(model.folder))
        cases = list(options.open().cases)
        if asked.held_out:
            cases += [c for role in ("validation", "test") for c in cases_of(model.folder, role)]
        kept = True
        if asked.certificates:
            kept = print_certificates(
                model, cases, deployments=asked.certificates, alpha=asked.alpha
            )
        world = observe_all(model, cases)
        for n_reference in asked.reference:
            kept &= print_table(
                world, trials=asked.trials, n_reference=n_reference, changed_trials=asked.changed
            )
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
