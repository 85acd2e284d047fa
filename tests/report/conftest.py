"""A whole report's content, made from synthetic score maps through the real evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
import pytest
from scipy import ndimage

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.records import Role
from rareseg.decision.operating_point import OperatingPoint, choose_operating_point, default_point
from rareseg.evaluation.measures.case_result import CaseResult, measure_case
from rareseg.evaluation.measures.mask_measures import detail_case
from rareseg.evaluation.measures.scorecard import make_scorecard
from rareseg.evaluation.metrics.confusion_matrix import confuse
from rareseg.evaluation.tables.area_openings import levels_of, open_levels
from rareseg.evaluation.tables.component_table import (
    ComponentTable,
    components_of_regions,
    grid_with,
)
from rareseg.evaluation.tables.score_table import ScoreTable, region_references, score_regions
from rareseg.recipe import Recipe
from rareseg.report.figures.case_pictures import choose_shots, take_picture
from rareseg.report.pages.threshold_explorer import offered_cuts
from rareseg.report.report_content import (
    History,
    ReportContent,
    data_facts,
    find_leakage,
    role_counts,
)
from rareseg.report.wording.verdict import judge
from rareseg.sampling.patches.composition import Composition
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.label_map import class_map
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes, Geometry

SPACING = (1.0, 1.0, 1.0)
TWO_CLASSES = Classes(
    ("background", "pit", "crack"), (0, 1, 2), {"foreground": (1, 2), "pit": (1,), "crack": (2,)}
)
ONE_CLASS = Classes(("background", "speck"), (0, 1), {"foreground": (1,)})


@dataclass(frozen=True)
class Scored:
    """One made-up case: image (y, x), labels and probabilities (C, 1, y, x)."""

    id: str
    group: str | None
    role: Role
    image: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def presence(self, classes: Classes) -> dict[str, float]:
        """What a head might say of each region: mostly right, and no one number for two cases."""
        rng = np.random.default_rng(int(self.id.rsplit("-", 1)[1]))
        noise = rng.normal(0, 1.5, len(classes.regions))
        return {
            region: float(1 / (1 + np.exp(-odds)))
            for (region, members), odds in zip(classes.regions.items(), noise, strict=True)
            for odds in [odds + (2.0 if np.isin(self.labels, members).any() else -2.0)]
        }


def draw_case(
    rng: np.random.Generator,
    number: int,
    role: Role,
    classes: Classes,
    side: int,
    grouped: bool,
    name: str,
) -> Scored:
    """Every second case holds specks; all hold distractors that the scores half believe in."""
    labels = np.zeros((side, side), np.uint8)
    belief = ndimage.gaussian_filter(rng.normal(size=(side, side)), 1.5) * 4 - 7
    y, x = np.mgrid[:side, :side]
    image = 110 + 40 * ndimage.gaussian_filter(rng.normal(size=(side, side)), 3) * 3
    kinds = []
    for _ in range(rng.integers(1, 5) if number % 2 else 0):
        kinds.append(int(rng.integers(1, classes.count)))
    winners = np.ones((side, side), np.uint8)
    for kind in [*kinds, -1, -1]:
        radius = rng.uniform(2, 7)
        cy, cx = rng.uniform(radius, side - radius, 2)
        disc = (y - cy) ** 2 + ((x - cx) * (1 if kind != 2 else 0.4)) ** 2 < radius**2
        strength = rng.normal(11, 3) if kind > 0 else rng.normal(4, 2.2)
        spread = ndimage.gaussian_filter(np.roll(disc, rng.integers(-1, 2), 0).astype(float), 1.2)
        belief += strength * spread * (0.7 + 0.06 * radius)
        image += 55 * ndimage.gaussian_filter(disc.astype(float), 0.8) * (1 if kind > 0 else 0.75)
        if kind > 0:
            labels[disc] = kind
            winners[ndimage.binary_dilation(disc, iterations=6)] = kind
    foreground = 1 / (1 + np.exp(-belief))
    probabilities = np.zeros((classes.count, 1, side, side), np.float32)
    probabilities[0, 0] = 1 - foreground
    for k in range(1, classes.count):
        alone = classes.count == 2
        probabilities[k, 0] = foreground * np.where(winners == k, 1.0 if alone else 0.9, 0.1)
    probabilities /= probabilities.sum(axis=0)
    group = f"{name}{number // 3:03d}" if grouped else None
    return Scored(
        f"{name}-{number:03d}",
        group,
        role,
        np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8),
        labels[None],
        probabilities,
    )


def facts_of(case: Scored, classes: Classes) -> CaseFacts:
    values = case.image.astype(float)
    channel = ChannelFacts(*np.percentile(values, [0.5, 50, 99.5]), values.mean(), values.std())
    return CaseFacts(
        id=case.id,
        group=case.group,
        role=None,
        shape=(1, *case.image.shape),
        spacing=(1.0, 1.0, 1.0),
        dimension=2,
        channels=1,
        dtype="uint8",
        voxels=tuple(int((case.labels == k).sum()) for k in range(classes.count)),
        ignored=0,
        intensities=(channel,),
        thumbnail_hash="0" * 36,
    )


def results_at(
    cases: list[Scored], classes: Classes, points: dict[str, OperatingPoint]
) -> tuple[CaseResult, ...]:
    found = []
    for case in cases:
        scores = region_scores(case.probabilities, classes)
        references = region_references(case.labels, classes)
        presence = case.presence(classes)
        for region in classes.regions:
            found.append(
                measure_case(
                    apply_point(scores[region], points[region], presence[region]),
                    references[region],
                    case_id=case.id,
                    point=points[region],
                    top_score=float(scores[region].max()),
                    presence=presence[region],
                    role=case.role,
                    group=case.group,
                )
            )
    return tuple(found)


def table_of(cases: list[Scored], classes: Classes) -> ScoreTable:
    rows = []
    for case in cases:
        rows += score_regions(
            case.probabilities,
            case.labels,
            classes,
            case_id=case.id,
            group=case.group,
            role=case.role,
            presence=case.presence(classes),
        ).rows
    return ScoreTable(tuple(rows))


def measure_in_detail(
    cases: list[Scored], classes: Classes, points: dict[str, OperatingPoint]
) -> dict[str, object]:
    """What is measured in detail: components, surfaces and the confusion of classes."""
    components, details, confusions = [], [], []
    grid = grid_with(point.threshold for point in points.values())
    for case in cases:
        about = {"case_id": case.id, "group": case.group, "role": case.role}
        arrays = (case.probabilities, case.labels, classes)
        presence = case.presence(classes)
        components += components_of_regions(*arrays, **about, presence=presence, grid=grid).rows
        scores = region_scores(case.probabilities, classes)
        references = region_references(case.labels, classes)
        masks = {
            region: apply_point(scores[region], points[region], presence[region])
            for region in classes.regions
        }
        details += [
            detail_case(mask, references[region], region=region, geometry=Geometry(), **about)
            for region, mask in masks.items()
        ]
        predicted = class_map(case.probabilities, masks, classes)
        confusions.append(confuse(predicted, case.labels, classes.names))
    return {
        "components": ComponentTable(tuple(components), grid),
        "details": tuple(details),
        "confusion": reduce(add, confusions),
    }


def draw_cases(
    seed: int = 0,
    *,
    n_test: int = 24,
    n_validation: int = 24,
    classes: Classes = TWO_CLASSES,
    side: int = 96,
    grouped: bool = True,
    name: str = "plate",
) -> list[Scored]:
    """Draw the cases of a content: 12 that were learnt from, some to choose on, some to test."""
    rng = np.random.default_rng(seed)
    draw: list[tuple[Role, int]] = [("train", 12), ("validation", n_validation), ("test", n_test)]
    return [
        draw_case(rng, 1000 * k + i, role, classes, side, grouped, name)
        for k, (role, n) in enumerate(draw)
        for i in range(n)
    ]


def build_content(
    *,
    seed: int = 0,
    n_test: int = 24,
    n_validation: int = 24,
    classes: Classes = TWO_CLASSES,
    side: int = 96,
    grouped: bool = True,
    name: str = "plate",
    title: str = "Specks",
) -> ReportContent:
    """Run synthetic cases through the real scores, decision and scorecard."""
    cases = draw_cases(
        seed,
        n_test=n_test,
        n_validation=n_validation,
        classes=classes,
        side=side,
        grouped=grouped,
        name=name,
    )
    rng = np.random.default_rng(seed)
    validation = [case for case in cases if case.role == "validation"]
    test = [case for case in cases if case.role == "test"]
    validation_table, table = table_of(validation, classes), table_of(test, classes)
    points = {r: choose_operating_point(validation_table, region=r) for r in classes.regions}
    usable = {
        region: point if isinstance(point, OperatingPoint) else default_point(region)
        for region, point in points.items()
    }
    halves = {region: default_point(region) for region in classes.regions}
    results = results_at(test, classes, usable)
    fingerprint = Fingerprint(
        tuple(facts_of(case, classes) for case in cases), classes, (), (), (), "0" * 64
    )
    roles = {case.id: case.role for case in cases}
    by_id = {case.id: case for case in test}
    close = measure_in_detail(test, classes, usable)
    cuts = {region: offered_cuts(close["components"], region, points[region]) for region in points}
    pictures = []
    for shot in choose_shots(results, close["details"]):
        case = by_id[shot.case_id]
        scores = region_scores(case.probabilities, classes)[shot.region]
        members = classes.regions[shot.region]
        offered = cuts[shot.region]
        reached = levels_of(scores, np.array(offered.thresholds, np.float32))
        pictures.append(
            take_picture(
                shot,
                case.image[None, None],
                np.isin(case.labels, members),
                apply_point(scores, usable[shot.region], case.presence(classes)[shot.region]),
                group=case.group,
                levels=open_levels(reached, [size.voxels(SPACING) for size in offered.sizes]),
            )
        )
    steps = np.arange(1, 601)
    loss = 0.2 + 0.9 * np.exp(-steps / 150) + rng.normal(0, 0.06, 600)
    marks = list(range(75, 601, 75))
    curve = [0.2, 0.41, 0.55, 0.63, 0.67, 0.71, 0.735, 0.731]
    content = ReportContent(
        title=title,
        scorecards=(
            ("at 0.5", make_scorecard(results_at(test, classes, halves))),
            ("at the chosen point", make_scorecard(results)),
        ),
        main_label="at the chosen point",
        points=points,
        table=table,
        validation_table=validation_table,
        results=results,
        **close,
        data=data_facts(fingerprint),
        roles=role_counts(fingerprint.cases, roles),
        recipe=Recipe(),
        reasons={"training.steps": "8 steps a case, 600 at least"},
        history=History(
            {"step": steps.tolist(), "loss": loss.tolist(), "waiting_share": [0.02] * 600},
            {"step": marks, "score": curve, "best": np.maximum.accumulate(curve).tolist()},
        ),
        composition=Composition(
            patches=4800,
            pools=("everything", *classes.names[1:]),
            asked=(0.5, *([0.5 / (classes.count - 1)] * (classes.count - 1))),
            drawn=(0.5, *([0.5 / (classes.count - 1)] * (classes.count - 1))),
            centres=(2400, *([2400 // (classes.count - 1)] * (classes.count - 1))),
            classes=classes.names,
            voxels=(9_400_000, *([300_000] * (classes.count - 1))),
            ignored=0,
            with_foreground=2710,
        ),
        pictures=tuple(pictures),
        leakage=find_leakage(fingerprint, roles),
    )
    return replace(content, verdicts=judge(content))


@pytest.fixture(scope="session")
def content() -> ReportContent:
    return build_content()


@pytest.fixture(scope="session")
def make_content() -> Callable[..., ReportContent]:
    return build_content


@pytest.fixture(scope="session")
def one_class() -> Classes:
    return ONE_CLASS


@pytest.fixture(scope="session")
def tested_cases() -> list[Scored]:
    """The test cases behind ``content``."""
    return [case for case in draw_cases() if case.role == "test"]
