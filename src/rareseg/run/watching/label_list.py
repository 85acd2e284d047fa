"""Draw groups of a stream to be labelled for a guarantee, and write the list of their images.

The draw is made once: who asks again for the same gets the same groups, whatever was found in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rareseg.decision.guarantees.guarantee import Guarantee, make_guarantee, percent
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import DataError, UsageError, nearest
from rareseg.monitoring.label_plan import CHANCE, LabelPlan, draw_groups, plan_labels
from rareseg.monitoring.observed_features import Observation, group_key
from rareseg.monitoring.watch_state import WatchState
from rareseg.report.wording.numbers import count
from rareseg.run.scores.picked_groups import Pick, write_picks
from rareseg.run.watching.chosen_on import ChosenOn, chosen_on
from rareseg.run.watching.watched_model import WatchedModel

KINDS = {
    "false-alarm-rate": "false alarm rate",
    "false-negative-rate": "false negative rate",
    "false-discovery": "false discovery proportion",
}
"""What can be asked for, as `tune --max-…` calls it."""

FOLDER = "labels"


@dataclass(frozen=True)
class Labels:
    """What is to be guaranteed anew, and the share of images that hold a region, where known."""

    guarantee: Guarantee
    prevalence: float | None = None

    @classmethod
    def of(cls, asked: str, prevalence: float | None = None) -> Labels:
        """Read "false-alarm-rate=0.05"; raises :class:`UsageError` for anything else."""
        kind, equals, bound = asked.partition("=")
        if kind not in KINDS or not equals:
            raise UsageError(
                f"--label is {asked!r}{nearest(kind, KINDS)}; allowed are "
                f"{', '.join(f'{name}=0.05' for name in KINDS)}."
            )
        try:
            alpha = float(bound)
        except ValueError as error:
            raise UsageError(f"--label {asked!r}: {bound!r} is no number, such as 0.05.") from error
        if prevalence is not None and not 0.0 <= prevalence <= 1.0:
            raise UsageError(f"--prevalence is {prevalence:g}; it lies between 0 and 1.")
        return cls(make_guarantee(KINDS[kind], alpha), prevalence)

    @property
    def asked(self) -> str:
        """The name under which the draw is kept."""
        return f"{self.guarantee.kind} ≤ {percent(self.guarantee.alpha)}"


@dataclass(frozen=True)
class DrawnLabels:
    """The groups that were drawn, the folder that lists their images, and the sum, in words."""

    folder: Path
    groups: tuple[str, ...]
    n_images: int
    lines: tuple[str, ...]


def draw_labels(state: WatchState, model: WatchedModel, labels: Labels, out: Path) -> DrawnLabels:
    """Draw the groups, or return those that were drawn; write the list of their images.

    Raises :class:`DataError` where the stream has too few groups or no point is chosen, and
    :class:`UsageError` where no number of groups is enough.
    """
    plan, lines = _plan(model, labels)
    members: dict[str, list[Observation]] = {}
    for one in state.observed().stream:
        members.setdefault(group_key(one.group, one.digest), []).append(one)
    known = state.picks()
    drawn = known.get(labels.asked)
    if drawn is None:
        taken = {name for names in known.values() for name in names}
        free = sorted(name for name in members if name not in taken)
        seed = int(model.detector.model.digest[:8], 16)
        drawn = draw_groups(plan, free, np.random.default_rng([seed, len(known), len(free)]))
        state.pick(labels.asked, drawn)
    folder = out / FOLDER / labels.asked.replace(" ≤ ", " ").replace(" %", "pc").replace(" ", "-")
    images = [(name, one) for name in drawn for one in members[name]]
    ids = _ids([one for _, one in images])
    write_picks(
        folder,
        [
            Pick(ids[one.digest], tuple(map(Path, one.files)), one.digest, name)
            for name, one in images
        ],
    )
    sure = labels.guarantee.confidence
    option = next(name for name, kind in KINDS.items() if kind == labels.guarantee.kind)
    lines = (
        *lines,
        f"{count(len(drawn), 'group')} ({count(len(images), 'image')}) were drawn at random from "
        f"{len(members)}; {folder / 'manifest.csv'} lists them. Label all of them, before any "
        "prediction is seen: write a mask, or the word empty, into the column mask, or say what is "
        f"empty in `rareseg review {model.name} --picks {folder}`. A group with an image without "
        "a label counts as an error.",
        f"Then `rareseg tune {model.name} --max-{option} {labels.guarantee.alpha:g} --certify-on "
        f"{folder}` guarantees it"
        + ("." if sure is None else f" with {percent(sure)} confidence."),
    )
    return DrawnLabels(folder, drawn, len(images), lines)


def _plan(model: WatchedModel, labels: Labels) -> tuple[LabelPlan, tuple[str, ...]]:
    """Return the largest plan of any region that has a point, and the sums in words."""
    tables, why = chosen_on(model)
    points = model.decisions.points
    if not points:
        raise DataError(
            f"{model.name} has no operating point that could be guaranteed; choose one with "
            f"`rareseg tune {model.name}`."
        )
    together = len(points)
    guarantee = replace(labels.guarantee, together=together)
    plans, lines = [], []
    for region, point in points.items():
        plan, line = _region_plan(guarantee, region, point, labels.prevalence, tables, why)
        plans.append(plan)
        lines.append(line)
    return max(plans, key=lambda plan: plan.drawn), tuple(lines)


def _region_plan(
    guarantee: Guarantee,
    region: str,
    point: OperatingPoint,
    prevalence: float | None,
    tables: ChosenOn | None,
    why: str,
) -> tuple[LabelPlan, str]:
    if prevalence is None and tables is None:
        raise DataError(
            f"The share of images with {region} is not known, since {why}; say it with "
            "--prevalence."
        )
    if prevalence is not None:
        about = f"at {percent(prevalence)} prevalence, as --prevalence says"
        positive = prevalence
        share = {
            "false negative rate": positive,
            "false alarm rate": 1.0 - positive,
            "false discovery proportion": 1.0,
        }[guarantee.kind]
    else:
        assert tables is not None, "refused above"
        share = tables.share_of_groups(guarantee, region)
        positive = tables.prevalence(region)
        about = (
            f"at {percent(positive)} prevalence, as in the validation cases (usually enriched: say "
            "what the stream has with --prevalence)"
        )
    loss = None if tables is None else tables.loss(guarantee, point)
    expected = 0.0 if loss is None or loss >= guarantee.alpha else loss
    plan = plan_labels(guarantee, share=share, expected_loss=expected)
    what = guarantee.eligible
    said = (
        f"{region}: {plan.without_errors} groups with {what} stand for a {guarantee.kind} of "
        f"{percent(guarantee.alpha)} where none of them has an error; {about}, "
        f"{plan.without_errors} of them take about {_about(plan.without_errors / plan.share)}"
    )
    if loss is not None and loss >= guarantee.alpha:
        said += (
            f". At the point in use the {guarantee.kind} is about {percent(loss)} on the "
            "validation cases, more than is asked for: the guarantee moves the point to a safer one"
        )
    elif expected > 0.0:
        said += (
            f". With errors as on the validation cases ({percent(expected)}) it takes "
            f"{plan.needed} of them"
        )
    return plan, (
        f"{said}. {count(plan.drawn, 'group')} hold so many with a chance of {percent(CHANCE)}."
    )


def _ids(images: Sequence[Observation]) -> dict[str, str]:
    """Return an id for each image by its digest: its own, and of equal ones its digest too."""
    plain = {one.digest: one.id.replace("/", "_") for one in images}
    often = Counter(plain.values())
    return {
        digest: name if often[name] == 1 else f"{name}_{digest[:8]}"
        for digest, name in plain.items()
    }


def _about(number: float) -> str:
    """Return a number with two digits: 2950 as "3,000"."""
    digits = max(0, len(str(int(number))) - 2)
    return f"{round(number, -digits):,.0f}"
