"""Check whether negative cases cover the backgrounds of positive and test cases.

Tiles of background (:mod:`rareseg.quality.audit.backgrounds`) are points. A tile is *known* to
other images where they have their part in its neighbourhood: among the nearest tiles of other
groups, so many that ``EXPECTED`` of them should belong to those images if both showed the same,
``KNOWN`` or more do. What is not known is gathered into kinds, of which only those that several
groups share are worth a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import spatial
from scipy.cluster import hierarchy

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.data.records import Role
from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg.quality.audit.backgrounds import Tiles
from rareseg.quality.audit.finding import Box, Example, Finding, counted, per_cent, some

Floats = NDArray[np.float32]

LEAST_CASES = 5
"""Fewer cases on either side say nothing of variety."""
LEAST_TILES = 20
EXPECTED, KNOWN = 12.0, 3
"""Of as many neighbours of a kind as are expected, so few make a tile known."""
MOST_NEIGHBOURS = 400
LEAST_COVERED = 0.8
"""Below this share of known background, the empty images lack variety."""
LEAST_KIND = 0.02
"""A kind makes up so large a share of the tiles at least, in ``KIND_GROUPS`` groups or more."""
KIND_GROUPS = 4
MOST_TILES = 40_000
"""Tiles of one side that are compared; of more, every so-manieth."""
MOST_CLUSTERED = 2000
SPREAD = 2.0
"""A kind is as wide as so many neighbourhoods."""
EXAMPLES = 4
"""Crops that are shown of each kind."""


@dataclass(frozen=True)
class Crop:
    """A place in a case."""

    case_id: str
    box: Box


@dataclass(frozen=True)
class BackgroundKind:
    """A kind of background: how many tiles of how many cases, and examples from several."""

    n_tiles: int
    share: float
    cases: tuple[str, ...]
    examples: tuple[Crop, ...]


@dataclass(frozen=True)
class BackgroundCoverage:
    """How much of the background of some cases (``of``) others (``by``) know.

    ``known`` is a share of tiles, ``n_of`` and ``n_by`` count cases. ``kinds`` are not known.
    """

    of: str
    by: str
    known: Value
    n_of: int
    n_by: int
    kinds: tuple[BackgroundKind, ...] = ()
    examples: tuple[Crop, ...] = ()


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Tiles of several cases as points, with the number of the case and group of each."""

    points: Floats
    case: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: tuple[str, ...]
    ids: tuple[str, ...]
    boxes: tuple[Box, ...]


def measure_coverage(
    facts: Sequence[CaseFacts], tiles: Mapping[str, Tiles], declared: Mapping[str, Role]
) -> tuple[BackgroundCoverage, ...]:
    """Return what the empty images know of the others' background, and the reverse.

    Where roles are declared, also what the train cases know of all others' background.
    """
    scaled = _scaled({fact.id: tiles[fact.id] for fact in facts if fact.id in tiles})
    known = [fact for fact in facts if fact.id in scaled]
    empty = [fact for fact in known if not fact.is_positive]
    positive = [fact for fact in known if fact.is_positive]
    found = [
        _coverage("positive images", positive, "empty images", empty, scaled),
        _coverage("empty images", empty, "positive images", positive, scaled),
    ]
    train = [fact for fact in known if declared.get(fact.id) == "train"]
    others = [fact for fact in known if declared.get(fact.id, "train") != "train"]
    if train and others:
        found.append(_coverage("held-out images", others, "train images", train, scaled))
    return tuple(found)


def negative_findings(
    facts: Sequence[CaseFacts], coverages: Sequence[BackgroundCoverage]
) -> list[Finding]:
    """Return what is to be said of the empty images and of background that is never seen."""
    findings = []
    empty = sum(not fact.is_positive for fact in facts)
    if facts and not empty:
        findings.append(
            Finding(
                "no-negatives",
                f"All {len(facts):,} images hold foreground: what the model makes of empty ones "
                "is neither learned nor measured; add images without any, if it will meet them.",
            )
        )
    forward = coverages[0] if coverages else None
    if forward is not None and isinstance(forward.known, float) and forward.known < LEAST_COVERED:
        findings.append(
            Finding(
                "negatives-without-variety",
                f"The {forward.n_by:,} empty images know {per_cent(forward.known)} of the "
                f"background of the {forward.n_of:,} positive ones: elsewhere the model learns "
                "from objects alone what is no object; add empty images like those shown, from "
                "other places or groups.",
                _crops(forward),
            )
        )
    for coverage in coverages:
        if coverage.of == "empty images" or not coverage.kinds:
            continue
        if coverage is forward and findings and findings[-1].name == "negatives-without-variety":
            continue
        share = sum(kind.share for kind in coverage.kinds)
        cases = tuple(dict.fromkeys(name for kind in coverage.kinds for name in kind.cases))
        noun = counted(len(coverage.kinds), "kind")
        findings.append(
            Finding(
                "unseen-background",
                f"{noun} of background, {per_cent(share)} of that of the {coverage.of} "
                f"({counted(len(cases), 'case')}: {some(cases)}), "
                f"{'occurs' if len(coverage.kinds) == 1 else 'occur'} in none of the "
                f"{coverage.n_by:,} {coverage.by}; add such images there.",
                _crops(coverage),
            )
        )
    return findings


def _crops(coverage: BackgroundCoverage) -> tuple[Example, ...]:
    crops = [
        Example(crop.case_id, f"kind {number}", (crop.box,))
        for number, kind in enumerate(coverage.kinds, start=1)
        for crop in kind.examples
    ]
    shown = crops or [Example(crop.case_id, "not known", (crop.box,)) for crop in coverage.examples]
    seen = {example.case_id for example in shown}
    more = dict.fromkeys(name for kind in coverage.kinds for name in kind.cases)
    return (*shown, *(Example(name) for name in more if name not in seen))


def _scaled(tiles: Mapping[str, Tiles]) -> dict[str, Tiles]:
    """Return tiles whose numbers are comparable: each by its median and quartiles over all."""
    filled = {name: own for name, own in tiles.items() if len(own.features)}
    if not filled:
        return {}
    together = np.concatenate([own.features for own in filled.values()])
    low, middle, high = np.percentile(together, [25, 50, 75], axis=0)
    spread = np.maximum(high - low, 0.05).astype(np.float32)
    return {
        name: Tiles(
            np.clip((own.features - middle) / spread, -6.0, 6.0).astype(np.float32), own.boxes
        )
        for name, own in filled.items()
    }


def _coverage(
    of: str,
    of_facts: Sequence[CaseFacts],
    by: str,
    by_facts: Sequence[CaseFacts],
    tiles: Mapping[str, Tiles],
) -> BackgroundCoverage:
    n_of, n_by = len(of_facts), len(by_facts)
    if min(n_of, n_by) < LEAST_CASES:
        few = of if n_of < n_by else by
        reason = f"{min(n_of, n_by)} {few} with free background, {LEAST_CASES} are needed"
        return BackgroundCoverage(of, by, Undefined(reason), n_of, n_by)
    asked, known = _cloud(of_facts, tiles), _cloud(by_facts, tiles)
    if min(len(asked.points), len(known.points)) < LEAST_TILES:
        return BackgroundCoverage(of, by, Undefined("too little free background"), n_of, n_by)
    if len(np.unique(known.group)) < 2:
        return BackgroundCoverage(of, by, Undefined(f"the {by} are of one group"), n_of, n_by)
    theirs, radius = _neighbours(asked, known)
    new = np.flatnonzero(theirs < KNOWN)
    kinds = _kinds(asked, new, radius)
    order = new[np.argsort(theirs[new], kind="stable")]
    first = {int(asked.case[k]): int(k) for k in order[::-1]}
    examples = tuple(_crop(asked, k) for k in list(first.values())[::-1][: 2 * EXAMPLES])
    share = 1.0 - len(new) / len(asked.points)
    return BackgroundCoverage(of, by, share, n_of, n_by, kinds, examples)


def _cloud(facts: Sequence[CaseFacts], tiles: Mapping[str, Tiles]) -> _Cloud:
    groups = {fact.group or f"case {fact.id}": 0 for fact in facts}
    number = {name: k for k, name in enumerate(groups)}
    counts = [len(tiles[fact.id].boxes) for fact in facts]
    case = np.repeat(np.arange(len(facts)), counts)
    group = np.array([number[fact.group or f"case {fact.id}"] for fact in facts])[case]
    points = np.concatenate([tiles[fact.id].features for fact in facts])
    boxes = [box for fact in facts for box in tiles[fact.id].boxes]
    keep = np.arange(0, len(points), -(-len(points) // MOST_TILES) or 1)
    return _Cloud(
        points[keep],
        case[keep],
        group[keep],
        tuple(groups),
        tuple(fact.id for fact in facts),
        tuple(boxes[k] for k in keep),
    )


def _neighbours(asked: _Cloud, known: _Cloud) -> tuple[Floats, float]:
    """Return how many neighbours of each tile of ``asked`` are of ``known``, and how far they lie.

    Neighbours are of other groups. Their number is such that ``EXPECTED`` are if both show the
    same; where fewer can be asked for, the count is scaled up. The distance is the median over
    tiles of that to the farthest neighbour.
    """
    points = np.concatenate([asked.points, known.points])
    names = {name: k for k, name in enumerate({*asked.groups, *known.groups})}
    group = np.concatenate(
        [[names[cloud.groups[k]] for k in cloud.group] for cloud in (asked, known)]
    )
    is_known = np.arange(len(points)) >= len(asked.points)
    share = float(is_known.mean())
    wanted = min(int(np.ceil(EXPECTED / share)), MOST_NEIGHBOURS, len(points) - 1)
    largest = int(np.bincount(group).max())
    tree = spatial.cKDTree(points)
    distance, index = tree.query(asked.points, min(wanted + largest, len(points)))
    other = group[index] != group[: len(asked.points), None]
    near = other & (np.cumsum(other, axis=1) <= wanted)
    counts = (near & is_known[index]).sum(axis=1)
    farthest = np.where(near, distance, 0.0).max(axis=1)
    scale = EXPECTED / np.maximum(near.sum(axis=1) * share, 1e-9)
    return np.asarray(counts * scale, np.float32), float(np.median(farthest))


def _kinds(cloud: _Cloud, new: NDArray[np.int64], radius: float) -> tuple[BackgroundKind, ...]:
    """Gather tiles that are not known into kinds that several groups share, the largest first."""
    least = max(LEAST_KIND * len(cloud.points), KIND_GROUPS)
    if len(new) < least:
        return ()
    some_new = new[:: -(-len(new) // MOST_CLUSTERED)]
    points = cloud.points[some_new]
    links = hierarchy.linkage(points, "average")
    labels = hierarchy.fcluster(links, SPREAD * radius, "distance")
    kinds = []
    for label in np.unique(labels):
        members = some_new[labels == label]
        n_tiles = round(len(members) * len(new) / len(some_new))
        if n_tiles < least or len(np.unique(cloud.group[members])) < KIND_GROUPS:
            continue
        centre = cloud.points[members].mean(axis=0)
        near = members[np.argsort(np.linalg.norm(cloud.points[members] - centre, axis=1))]
        cases = list(dict.fromkeys(int(k) for k in cloud.case[near]))
        first = {int(cloud.case[k]): int(k) for k in near[::-1]}
        kinds.append(
            BackgroundKind(
                n_tiles,
                n_tiles / len(cloud.points),
                tuple(cloud.ids[k] for k in cases),
                tuple(_crop(cloud, first[k]) for k in cases[:EXAMPLES]),
            )
        )
    return tuple(sorted(kinds, key=lambda kind: -kind.n_tiles))


def _crop(cloud: _Cloud, tile: int) -> Crop:
    return Crop(cloud.ids[int(cloud.case[tile])], cloud.boxes[tile])
