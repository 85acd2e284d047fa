"""Read the classes of a data set: declared names, otherwise the values in the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rareseg.data.checks.problems import Findings, ProblemKind
from rareseg.data.records import Dataset
from rareseg.errors import DataError
from rareseg_runner.file_names import require_names
from rareseg_runner.image_records import IGNORE, Classes

FOREGROUND = "foreground"
MOST_CLASSES = 32
"""More undeclared mask values than this are taken for blurred edges or numbered instances."""
MOST_TOLD_APART = IGNORE - 1
"""Classes beside the background: class indices are bytes, of which one marks what is ignored."""
EXPLAINED: tuple[ProblemKind, ...] = ("blurred masks", "numbered objects", "void rim")
"""Findings that already say what several values are."""


def resolve_classes(
    dataset: Dataset, values: Mapping[str, Sequence[int]], findings: Findings
) -> Classes:
    """Return the classes of a data set whose masks hold ``values`` (mask file to its values).

    Declared names win. Otherwise one value other than 0 is "foreground", several are
    "class_VALUE". Declared regions are kept; without any, each class is one; and with more than
    one class there is always "foreground", their union. Regions stand largest first.
    """
    void = {0, dataset.ignore_value}
    seen = sorted({value for held in values.values() for value in held if value not in void})
    if dataset.labels is not None:
        labels = dict(sorted(dataset.labels.items(), key=lambda item: item[1]))
        labels = _present(dataset, labels, seen, findings)
        _check_declared(dataset, labels, values, findings)
    else:
        _check_undeclared(seen, values, findings)
        one = len(seen) <= 1
        labels = {FOREGROUND: seen[0] if seen else 1} if one else {f"class_{v}": v for v in seen}
    if len(labels) > MOST_TOLD_APART:
        findings.problem(
            f"{dataset.root} has {len(labels)} classes beside the background, and at most "
            f"{MOST_TOLD_APART} are told apart (the class index {IGNORE} marks what counts "
            "nowhere); unite some."
        )
        labels = dict(list(labels.items())[:MOST_TOLD_APART])
    index = {value: k for k, value in enumerate(labels.values(), start=1)}
    if dataset.regions:
        regions = {
            name: tuple(sorted(index[value] for value in members if value in index))
            for name, members in dataset.regions.items()
        }
    else:
        regions = {name: (index[value],) for name, value in labels.items()}
    union = tuple(range(1, len(labels) + 1))
    if len(labels) > 1 and union not in regions.values():
        if FOREGROUND in regions:
            findings.problem(
                f"{dataset.root / 'dataset.json'} calls a part of the classes '{FOREGROUND}', "
                "which is the name of the union of all; rename that label or region."
            )
        regions[FOREGROUND] = union
    for what, names in (("class", ("background", *labels)), ("region", tuple(regions))):
        try:
            require_names(names, what)
        except DataError as error:
            findings.problem(f"{dataset.root}: {error}")
    ordered = sorted(regions.items(), key=lambda item: -len(item[1]))
    return Classes(
        names=("background", *labels),
        values=(0, *labels.values()),
        regions=dict(ordered),
        ignore_value=dataset.ignore_value,
    )


def _present(
    dataset: Dataset, labels: dict[str, int], seen: Sequence[int], findings: Findings
) -> dict[str, int]:
    """Return the labels without those that no mask holds, where files name them."""
    absent = [name for name, value in labels.items() if value not in seen]
    if not dataset.named_by_files or not absent or len(absent) == len(labels):
        return labels
    findings.warn(
        f"{dataset.root} has files for the classes {_some(absent)}, in which nothing is drawn; "
        "they are left out."
    )
    return {name: value for name, value in labels.items() if value in seen}


def _check_declared(
    dataset: Dataset,
    labels: Mapping[str, int],
    values: Mapping[str, Sequence[int]],
    findings: Findings,
) -> None:
    of_void = [name for name, value in labels.items() if value == IGNORE]
    if of_void and len(labels) > 1 and dataset.ignore_value is None:
        findings.warn(
            f"{dataset.root} declares the class '{of_void[0]}' as {IGNORE}, the value by which "
            "most programs mark what counts nowhere: it is learned as a class. If it marks voxels "
            f"to leave out, call it ignore where it is declared, or say --ignore-value {IGNORE}."
        )
    if dataset.ignore_value in labels.values():
        name = next(name for name, value in labels.items() if value == dataset.ignore_value)
        findings.problem(
            f"{dataset.root} declares the class '{name}' as {dataset.ignore_value}, which is the "
            "value of voxels that count nowhere too; remove the class, or give another "
            "--ignore-value."
        )
    allowed = {0, *labels.values()} | (
        {dataset.ignore_value} if dataset.ignore_value is not None else set()
    )
    for file, held in values.items():
        outside = sorted(set(held) - allowed)
        if outside:
            findings.problem(
                f"{file} holds the label values {_few(outside)}, where {_few(sorted(allowed))} are "
                "declared; correct the mask or declare them in dataset.json."
            )
    seen = {value for held in values.values() for value in held}
    for name, value in labels.items():
        if values and value not in seen:
            findings.problem(
                f"{dataset.root} declares the class '{name}' (value {value}), which no mask holds; "
                "remove it where it is declared (dataset.json, labelmap.txt, _classes.csv) or add "
                "cases that hold it.",
                kind="absent class",
                where=name,
            )


def _check_undeclared(
    seen: Sequence[int], values: Mapping[str, Sequence[int]], findings: Findings
) -> None:
    if len(seen) > MOST_CLASSES:
        file = max(values, key=lambda name: len(values[name]))
        if not any(found.kind in EXPLAINED for found in findings.problems):
            findings.problem(
                f"{file} and others hold {len(seen)} different label values, which look like "
                "blurred edges or numbered objects; read them with --binarize 128 or --values-are "
                "objects, or declare the classes in a dataset.json."
            )
        return
    for value in seen:
        if value < 0:
            file = next(name for name, held in values.items() if value in held)
            findings.problem(
                f"{file} holds the label value {value}; label values start at 0 (to leave voxels "
                "out, declare the value as 'ignore' in a dataset.json)."
            )
    if list(seen) == [1, 255] and not any({1, 255} <= set(held) for held in values.values()):
        ones = [name for name, held in values.items() if 1 in held]
        full = [name for name, held in values.items() if 255 in held]
        findings.problem(
            f"{ones[0]} marks the foreground as 1 (as {len(ones)} masks do) and {full[0]} as 255 "
            f"(as {len(full)} do); use one value, or declare both in a dataset.json."
        )
    elif (
        len(seen) > 1
        and 255 in seen
        and not any(found.kind in EXPLAINED for found in (*findings.problems, *findings.warnings))
    ):
        findings.warn(
            "The mask value 255 is taken for a class of its own; if it marks voxels to leave out, "
            "say --ignore-value 255."
        )


def _few(values: Sequence[int]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
