"""Find faults of masks: shapes, outlines, values, annotators."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from rareseg.data.checks.case_checks import count_values
from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.data.records import Case, Dataset
from rareseg.errors import ReadError
from rareseg.quality.audit.case_features import CaseFeatures
from rareseg.quality.audit.finding import Box, Example, Finding, counted, per_cent, some
from rareseg.quality.audit.placement import MisplacedMasks
from rareseg.quality.audit.shapes import Shapes
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import Classes

ISLAND_BESIDE = 9.0
"""An island is one where the usual object of its data set has so many voxels."""
RULE_FROM, RULE_BROKEN = 20, 0.05
"""Parts lie within their whole by rule where so many do and at most this share does not."""
STRAY_CASES, STRAY_VOXELS = 0.02, 0.001
"""A value strays that so few of the cases hold, in so few of the voxels that are not 0."""
FEW_GROUPS = 3
"""Train, validation and test need a group of each class each."""


def shape_findings(features: Mapping[str, CaseFeatures]) -> list[Finding]:
    """Return islands, holes, frames and what the border cuts."""
    drawn = {name: own.shapes for name, own in features.items() if own.shapes.n_objects}
    objects = sum(shapes.n_objects for shapes in drawn.values())
    findings = []
    usual = sorted(shapes.usual_size for shapes in drawn.values() if shapes.usual_size)
    if usual and usual[len(usual) // 2] >= ISLAND_BESIDE:
        islands = _examples(drawn, lambda s: s.n_islands, lambda s: s.islands, "island")
        if islands:
            number = sum(drawn[example.case_id].n_islands for example in islands)
            findings.append(
                Finding(
                    "one-voxel-islands",
                    f"{counted(number, 'island')} of one voxel among {objects:,} objects of "
                    f"usually {usual[len(usual) // 2]:,.0f} voxels, in "
                    f"{counted(len(islands), 'case')}: slips of the pen count as objects that "
                    "were missed or found; remove them, or enlarge what is real.",
                    islands,
                )
            )
    holes = _examples(drawn, lambda s: s.n_holes, lambda s: s.holes, "small hole")
    if holes:
        number = sum(drawn[example.case_id].n_holes for example in holes)
        findings.append(
            Finding(
                "small-holes",
                f"{counted(number, 'small hole')} in objects of {counted(len(holes), 'case')}: "
                "the outline was hardly meant so; fill them, unless they are background indeed.",
                holes,
            )
        )
    frames = _examples(drawn, lambda s: len(s.frame), lambda s: s.frame, "frame")
    if frames:
        findings.append(
            Finding(
                "drawn-frames",
                f"In {counted(len(frames), 'case')} a thin strip of foreground covers a side of "
                "the image, as exports of some tools leave it; remove it from the masks.",
                frames,
            )
        )
    cut = sum(shapes.n_cut for shapes in drawn.values())
    if cut:
        cases = [name for name, shapes in drawn.items() if shapes.n_cut]
        findings.append(
            Finding(
                "touching-border",
                f"{cut:,} of {counted(objects, 'object')} ({per_cent(cut / objects)}), in "
                f"{counted(len(cases), 'case')}, reach the image's border: their sizes are those "
                "of the part that is seen.",
                tuple(Example(name, counted(drawn[name].n_cut, "object")) for name in cases),
            )
        )
    return findings


def _examples(
    drawn: Mapping[str, Shapes],
    number: Callable[[Shapes], int],
    boxes: Callable[[Shapes], tuple[Box, ...]],
    noun: str,
) -> tuple[Example, ...]:
    """Return the cases that hold any, most first."""
    found = [
        (number(shapes), Example(name, counted(number(shapes), noun), boxes(shapes)))
        for name, shapes in drawn.items()
        if number(shapes)
    ]
    return tuple(example for _, example in sorted(found, key=lambda pair: -pair[0]))


def outline_findings(found: MisplacedMasks) -> list[Finding]:
    """Return the masks that fit elsewhere: mirrored or turned, and shifted."""
    if found.whole is not None:
        name = "flipped-masks" if found.whole.flips or found.whole.transposed else "shifted-masks"
        return [
            Finding(
                name,
                f"Nearly all of {found.n_judged:,} masks fit their images when they are "
                f"{found.whole.words()}: the masks were exported in another frame than the "
                "images; export them again.",
            )
        ]
    findings = []
    ranked = sorted(found.moves.items(), key=lambda item: -item[1].score)
    for name, is_flip, seen in (
        ("flipped-masks", True, "mirrored or turned"),
        ("shifted-masks", False, "elsewhere"),
    ):
        own = [
            (case, fit)
            for case, fit in ranked
            if bool(fit.move.flips or fit.move.transposed) == is_flip
        ]
        if not own:
            continue
        case, fit = own[0]
        findings.append(
            Finding(
                name,
                f"{counted(len(own), 'mask')} of {found.n_judged:,} with an outline "
                f"{'fits its image' if len(own) == 1 else 'fit their images'} {seen}, as well as "
                f"others fit where they are drawn (most of all {case}, {fit.move.words()}): look "
                "at the outlines, and export what is wrong again.",
                tuple(Example(case, fit.move.words(), move=fit.move) for case, fit in own),
            )
        )
    return findings


def nesting_findings(features: Mapping[str, CaseFeatures]) -> list[Finding]:
    """Return parts that touch nothing of the region around them, where nearly all others do."""
    total: Counter[tuple[str, str]] = Counter()
    bare: defaultdict[tuple[str, str], list[Example]] = defaultdict(list)
    number: Counter[tuple[str, str]] = Counter()
    for name, own in features.items():
        for nested in own.shapes.nested:
            key = (nested.outer, nested.inner)
            total[key] += nested.n_parts
            number[key] += len(nested.bare)
            if nested.bare:
                note = f"{nested.inner} without any {nested.outer} around it"
                bare[key].append(Example(name, note, nested.bare))
    findings = []
    for key, examples in bare.items():
        outer, inner = key
        if total[key] >= RULE_FROM and number[key] <= RULE_BROKEN * total[key]:
            findings.append(
                Finding(
                    "parts-outside-their-whole",
                    f"{number[key]:,} of {total[key]:,} parts of {inner} touch nothing else of "
                    f"{outer}, which is around all others ({some([s.case_id for s in examples])}): "
                    f"draw the {outer}, or correct the class.",
                    tuple(examples),
                )
            )
    return findings


def value_findings(dataset: Dataset, facts: Sequence[CaseFacts], classes: Classes) -> list[Finding]:
    """Return undeclared mask values that hardly occur, and classes in too few groups."""
    findings = []
    drawn = sum(sum(fact.voxels[1:]) for fact in facts)
    positive = sum(fact.is_positive for fact in facts)
    strays = []
    for k, value in enumerate(classes.values):
        if k == 0 or classes.count < 3:
            continue
        holders = [fact for fact in facts if fact.voxels[k]]
        voxels = sum(fact.voxels[k] for fact in holders)
        undeclared = dataset.labels is None
        few = len(holders) <= max(1, STRAY_CASES * positive)
        if undeclared and holders and few and voxels < STRAY_VOXELS * drawn:
            strays.append(k)
            findings.append(
                Finding(
                    "stray-values",
                    f"The mask value {value} occurs in {counted(len(holders), 'case')} "
                    f"({some([fact.id for fact in holders])}) and {counted(voxels, 'voxel')} "
                    "alone, and would be learned as a class of its own: correct the masks, or "
                    "declare the classes in a dataset.json.",
                    tuple(Example(f.id, counted(f.voxels[k], "voxel")) for f in holders),
                )
            )
            continue
        groups = {fact.group or f"case {fact.id}" for fact in holders}
        if holders and len(groups) < FEW_GROUPS <= len(facts):
            findings.append(
                Finding(
                    "class-in-few-groups",
                    f"{classes.names[k]} occurs in {counted(len(groups), 'group')} "
                    f"({some([fact.id for fact in holders])}), where learning, choosing and "
                    "judging need one each: add cases, or leave the class out.",
                    tuple(Example(fact.id) for fact in holders),
                )
            )
    return findings


def annotator_findings(cases: Sequence[Case], classes: Classes) -> list[Finding]:
    """Return classes that one of several annotators alone draws, in cases that others saw too."""
    together = [case for case in cases if len(case.annotations) > 1]
    drew: defaultdict[int, Counter[str]] = defaultdict(Counter)
    seen: defaultdict[int, list[str]] = defaultdict(list)
    index = {value: k for k, value in enumerate(classes.values)}
    for case in together:
        for annotator, path in case.annotations:
            try:
                values = count_values(read_mask(path).array) if path else {}
            except ReadError:
                continue
            for value in values:
                k = index.get(value, 0)
                if k:
                    drew[k][annotator] += 1
                    if case.id not in seen[k]:
                        seen[k].append(case.id)
    everybody = {annotator for case in together for annotator, _ in case.annotations}
    findings = []
    for k, counts in sorted(drew.items()):
        if len(counts) != 1 or len(seen[k]) < 2:
            continue
        (annotator, number), *_ = counts.items()
        others = sorted(everybody - {annotator})
        findings.append(
            Finding(
                "class-by-one-annotator",
                f"{annotator} draws {classes.names[k]} in {counted(number, 'case')} "
                f"({some(seen[k])}) that {' and '.join(others[:3])} looked at as well without ever "
                "drawing it: agree on what it is, then draw those cases again.",
                tuple(Example(name, f"drawn by {annotator} alone") for name in seen[k]),
            )
        )
    return findings
