"""Print what the runs of `few_labels.py` found, with intervals over groups, as Markdown.

A case's value is its mean over the seeds that are done. Dice is that of cases with the region,
found the share of them that the mask touches, alarms the share of cases without the region in which
anything is predicted; each case weighs the same, and intervals draw (or count) groups. Differences
between rows are paired over the cases and seeds that both have.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from few_labels_results import CHOSEN, FOREGROUND, HALF, UNGATED, UNION, read_json
from numpy.typing import NDArray
from scipy.stats import rankdata

from rareseg.evaluation.comparisons.paired_seeds import compare_over_seeds
from rareseg.evaluation.statistics.intervals import (
    Estimate,
    count_groups,
    estimate_mean,
    estimate_share,
)
from rareseg.evaluation.statistics.undefined import is_defined

Floats = NDArray[np.float64]

RESAMPLES = 4000

MEASURES = ("dice", "found", "alarmed")

TITLES = {CHOSEN: "at the chosen points", HALF: "at 0.5"}


@dataclass(frozen=True)
class Finding:
    """One region of one case at one cut; ``values`` holds those of MEASURES that it has."""

    id: str
    object: str
    kind: str
    positive: bool
    values: Mapping[str, float]


BySeed = Mapping[int, Mapping[str, Finding]]
"""For each seed, the cases that are done."""


def table_lines(given: argparse.Namespace) -> Iterator[str]:
    """Yield the tables of everything that is done of the data sets and rows asked for."""
    for name in given.sets.split(","):
        folder = given.out / "results" / data_folder(name, given.limit)
        runs = load_runs(folder, given.only.split(","), given.length)
        if not runs:
            yield f"Nothing is done of {name} in {folder}."
        for length in dict.fromkeys(run["asked"]["length"] for run in runs):
            same = [run for run in runs if run["asked"]["length"] == length]
            yield from _of_length(f"{name}, {length}", same, given)


def data_folder(name: str, limit: int) -> str:
    """Return the name of a data set's folder, whole or limited to a few groups."""
    return name if not limit else f"{name}-{limit}-groups"


def load_runs(folder: Path, rows: Sequence[str], length: str | None) -> list[dict[str, Any]]:
    """Return the records of the rows, in the order of the rows, then by fold and seed."""
    runs = [read_json(path) for row in rows for path in sorted((folder / row).glob("*.json"))]
    return [run for run in runs if length in (None, run["asked"]["length"])]


def _of_length(title: str, runs: Sequence[Mapping[str, Any]], given: Any) -> Iterator[str]:
    regions = tuple(runs[0]["cases"][0]["regions"])
    if not given.regions:
        regions = (FOREGROUND, UNION) if len(regions) > 2 else (FOREGROUND,)
    elif given.regions != "all":
        regions = tuple(given.regions.split(","))
    yield f"## {title}"
    yield ""
    yield from _about(runs)
    for region in regions:
        for cut, words in TITLES.items():
            if cut == HALF and region == UNION:
                continue  # the same as the foreground at 0.5
            found = {row: findings(own, region, cut) for row, own in by_row(runs).items()}
            yield from _main_table(f"{region}, {words}", runs, found, region, cut)
            if region == FOREGROUND:
                yield from kind_table(found)
        if given.alarms is not None and region != UNION:
            found = {
                row: findings(own, region, UNGATED, regated=given.alarms)
                for row, own in by_row(runs).items()
            }
            words = f"gates moved on the tested cases to at most {given.alarms:.0%} alarms"
            yield from _main_table(f"{region}, {words}", runs, found, region, UNGATED)


def _about(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what the rows were: steps, time, version, and what is not as it should be."""
    yield "| row | folds | seeds | steps | minutes | threads | rareseg | settings |"
    yield "|---|---|---|---|---|---|---|---|"
    for row, own in by_row(runs).items():
        steps = [run["steps"] for run in own]
        minutes = [run["seconds"] / 60 for run in own if not run["resumed"]]
        versions = {
            run["rareseg"]["commit"][:9] + ("+changes" if run["rareseg"]["changed"] else "")
            for run in own
        }
        folds, seeds, threads = (
            ", ".join(map(str, sorted({run["asked"][key] for run in own})))
            for key in ("fold", "seed", "threads")
        )
        settings = own[0]["asked"]["row_settings"] + own[0]["asked"]["row_settings_if_known"]
        left_out = own[0]["about"].get("settings_left_out", [])
        shown = ", ".join(s + (" (unknown, left out)" if s in left_out else "") for s in settings)
        yield (
            f"| {row} | {folds} | {seeds} | {_span(steps, '.0f')} | {_span(minutes, '.1f')} | "
            f"{threads} | {', '.join(sorted(versions))} | {shown or '—'} |"
        )
    for run in runs:
        apart = run["against_own_cases"]
        if apart is not None and apart["differ"]:
            yield (
                f"\n{run['asked']['row']}, fold {run['asked']['fold']}: {apart['differ']} of "
                f"{apart['compared']} counts on written masks differ from the row's own, by up to "
                f"{apart['largest']} pixels."
            )
    yield ""


def by_row(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the runs of each row, in their order."""
    rows: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        rows[run["asked"]["row"]].append(run)
    return dict(rows)


def findings(
    runs: Iterable[Mapping[str, Any]], region: str, cut: str, *, regated: float | None = None
) -> dict[int, dict[str, Finding]]:
    """Return the findings of one row by seed and case, over all folds that are done.

    ``regated`` moves each run's gate so that at most this share of its cases without the region is
    alarmed. A run that did not record the cut, as one without scores, has no findings.
    """
    found: defaultdict[int, dict[str, Finding]] = defaultdict(dict)
    for run in runs:
        gate = 0.0 if regated is None else _gate_for(run["cases"], region, regated)
        for case in run["cases"]:
            counts = case["regions"][region].get(cut)
            if counts is None:
                continue
            if regated is not None and case["regions"][region]["image_score"] < gate:
                counts = _silent(counts)
            values = {name: float(counts[name]) for name in MEASURES if name in counts}
            found[run["asked"]["seed"]][case["id"]] = Finding(
                case["id"], case["object"], case["kind"], "dice" in values, values
            )
    return dict(found)


def _silent(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a case in which nothing is predicted."""
    return {"dice": 0.0, "found": False} if "dice" in counts else {"alarmed": False}


def _gate_for(cases: Sequence[Mapping[str, Any]], region: str, alarms: float) -> float:
    """Return the lowest gate at which at most a share of the negative cases is alarmed."""
    negative = [case["regions"][region] for case in cases]
    negative = [own for own in negative if UNGATED in own and "alarmed" in own[UNGATED]]
    tops = sorted((own["image_score"] for own in negative if own[UNGATED]["alarmed"]), reverse=True)
    allowed = int(alarms * len(negative) + 1e-9)
    return 0.0 if len(tops) <= allowed else float(np.nextafter(tops[allowed], np.inf))


def over_seeds(found: BySeed) -> list[Finding]:
    """Return every case once, its values the means over the seeds in which it was tested."""
    cases: defaultdict[str, list[Finding]] = defaultdict(list)
    for by_case in found.values():
        for finding in by_case.values():
            cases[finding.id].append(finding)
    return [
        Finding(
            own[0].id,
            own[0].object,
            own[0].kind,
            own[0].positive,
            {name: float(np.mean([f.values[name] for f in own])) for name in own[0].values},
        )
        for own in cases.values()
    ]


def estimates(found: Sequence[Finding]) -> dict[str, Estimate]:
    """Return dice, found and alarmed with their intervals over groups."""
    groups = {name: [f.object for f in found if name in f.values] for name in MEASURES}
    values = {name: [f.values[name] for f in found if name in f.values] for name in MEASURES}
    none = {"alarmed": "no case without the region"}
    return {
        "dice": estimate_mean(
            values["dice"],
            groups["dice"],
            none="no case with the region",
            scale="share",
        ),
        **{
            name: estimate_share(
                values[name],
                [1] * len(values[name]),
                groups[name],
                none=none.get(name, "no case with the region"),
            )
            for name in ("found", "alarmed")
        },
    }


def _main_table(
    title: str,
    runs: Sequence[Mapping[str, Any]],
    found: Mapping[str, BySeed],
    region: str,
    cut: str,
) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    yield (
        "| row | cases with (groups) · without | dice | found | alarms | dice · (1 − alarms) | "
        "image-level AUC | silent folds |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    rows = by_row(runs)
    for row, by_seed in found.items():
        cases = over_seeds(by_seed)
        if not cases:
            continue
        values = estimates(cases)
        counts = values["dice"], values["alarmed"]
        yield (
            f"| {row} | {counts[0].n_cases} ({counts[0].n_groups}) · {counts[1].n_cases} "
            f"({counts[1].n_groups}) | {number(values['dice'])} | {share(values['found'])} | "
            f"{share(values['alarmed'])} | {_bounded(joint({row: cases})[row])} | "
            f"{mean_auc(rows[row], region)} | {_silent_folds(rows[row], region, cut)} |"
        )
    yield ""
    yield from difference_lines(found)


def number(value: Estimate) -> str:
    """Write an estimate with its interval."""
    if not is_defined(value.value):
        return "—"
    if not (is_defined(value.low) and is_defined(value.high)):
        return f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def share(value: Estimate) -> str:
    """Write a share in percent with its interval."""
    if not is_defined(value.value):
        return "—"
    assert is_defined(value.low)
    assert is_defined(value.high)
    return f"{value.value:.1%} [{value.low:.0%}, {value.high:.0%}]"


def joint(found: Mapping[str, Sequence[Finding]]) -> dict[str, tuple[float, Floats]]:
    """Return dice · (1 − alarms) of each row, and its bootstrap over groups, equal for all rows.

    A resample draws groups with replacement, with all their cases; those without any positive, or
    any negative, case are left out. Without a case that could be alarmed the product is dice.
    """
    groups = sorted({f.object for own in found.values() for f in own})
    index = {group: k for k, group in enumerate(groups)}
    drawn = np.random.default_rng(0).multinomial(
        len(groups), np.full(len(groups), 1 / len(groups)), size=RESAMPLES
    )
    result = {}
    for row, own in found.items():
        sums = {name: np.zeros((2, len(groups))) for name in ("dice", "alarmed")}
        for f in own:
            for name, total in sums.items():
                if name in f.values:
                    total[:, index[f.object]] += f.values[name], 1.0

        def product(weights: Floats, sums: Mapping[str, Floats] = sums) -> Floats:
            with np.errstate(invalid="ignore"):
                dice, alarms = (sums[k] @ weights.T for k in ("dice", "alarmed"))
                # Where nothing can be alarmed falsely, nothing is.
                rate = alarms[0] / alarms[1] if sums["alarmed"][1].any() else 0.0
                return np.asarray(dice[0] / dice[1] * (1 - rate))

        result[row] = float(product(np.ones(len(groups)))), product(drawn.astype(np.float64))
    return result


def _bounded(value: tuple[float, Floats]) -> str:
    low, high = np.nanquantile(value[1], [0.025, 0.975])
    return f"{value[0]:.3f} [{low:.3f}, {high:.3f}]"


def mean_auc(runs: Iterable[Mapping[str, Any]], region: str) -> str:
    """Return the mean over runs of the image-level AUC (each network has scores of its own).

    Runs of a row without image scores have none.
    """
    areas = []
    for run in runs:
        own = [case["regions"][region] for case in run["cases"]]
        positive = np.array(["dice" in counts[CHOSEN] for counts in own])
        # None is NaN as a number, and so is the area.
        areas.append(auc([counts["image_score"] for counts in own], positive))
    defined = [area for area in areas if not np.isnan(area)]
    return f"{np.mean(defined):.3f}" if defined else "—"


def auc(scores: Sequence[float], positive: NDArray[np.bool_]) -> float:
    """Return the share of pairs in which the positive case has the larger score (ties a half)."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    ranks = rankdata(np.asarray(scores, np.float64))
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def _silent_folds(runs: Iterable[Mapping[str, Any]], region: str, cut: str) -> str:
    """Return how many runs find no positive case at all, of how many that hold one."""
    held = silent = 0
    for run in runs:
        counts = [case["regions"][region].get(cut, {}) for case in run["cases"]]
        found = [own["found"] for own in counts if "found" in own]
        held += bool(found)
        silent += bool(found) and not any(found)
    return f"{silent} of {held}"


def difference_lines(found: Mapping[str, BySeed]) -> Iterator[str]:
    """Yield the paired differences of every row to the first one."""
    first, *others = found
    if not others:
        return
    yield f"Differences to {first}, paired over cases and seeds, 95 % intervals over groups:"
    yield ""
    yield "| row | dice | found | alarms | dice · (1 − alarms) |"
    yield "|---|---|---|---|---|"
    for row in others:
        one, two = _paired(found[first], found[row])
        if not one:
            continue
        groups = {f.id: f.object for by_case in one for f in by_case.values()}
        cells = [
            number(
                compare_over_seeds(
                    [_values(by_case, name) for by_case in one],
                    [_values(by_case, name) for by_case in two],
                    groups,
                    measure=name,
                ).difference
            )
            for name in MEASURES
        ]
        both = {name: over_seeds(dict(enumerate(own))) for name, own in ((first, one), (row, two))}
        pair = joint(both)
        change = pair[row][0] - pair[first][0], pair[row][1] - pair[first][1]
        yield f"| {row} | {' | '.join(cells)} | {_bounded(change)} |"
    yield ""


def _paired(
    first: BySeed, second: BySeed
) -> tuple[list[dict[str, Finding]], list[dict[str, Finding]]]:
    """Return both, by seed, on the cases that both have in every seed that both have."""
    seeds = sorted(set(first) & set(second))
    if not seeds:
        return [], []
    cases = set.intersection(*(set(by[seed]) for by in (first, second) for seed in seeds))
    one, two = (
        [{case: by[seed][case] for case in sorted(cases)} for seed in seeds]
        for by in (first, second)
    )
    return one, two


def _values(by_case: Mapping[str, Finding], name: str) -> dict[str, float]:
    return {case: f.values[name] for case, f in by_case.items() if name in f.values}


def kind_table(found: Mapping[str, BySeed]) -> Iterator[str]:
    """Yield dice and found of each row by kind of defect."""
    cases = {row: [f for f in over_seeds(own) if f.positive] for row, own in found.items()}
    kinds = sorted({f.kind for own in cases.values() for f in own})
    if len(kinds) < 2:
        return
    yield "| kind | row | cases (groups) | dice | found |"
    yield "|---|---|---|---|---|"
    for kind in kinds:
        for row, own in cases.items():
            of_kind = [f for f in own if f.kind == kind]
            if of_kind:
                values = estimates(of_kind)
                groups = count_groups([f.object for f in of_kind])
                yield (
                    f"| {kind} | {row} | {len(of_kind)} ({groups}) | {number(values['dice'])} | "
                    f"{share(values['found'])} |"
                )
    yield ""


def _span(values: Sequence[float], form: str) -> str:
    """Write the median with the smallest and the largest where they differ."""
    if not values:
        return "—"
    middle = format(float(np.median(values)), form)
    low, high = format(min(values), form), format(max(values), form)
    return middle if low == high else f"{middle} ({low}–{high})"
