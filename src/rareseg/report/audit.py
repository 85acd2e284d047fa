"""The page of an audit: verdict, findings with their cases, and what the files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg.data.files import atomic_write
from rareseg.data.fingerprint import CaseFacts
from rareseg.evaluation.values import Undefined, is_defined
from rareseg.quality.audit import Audit, RegionFacts
from rareseg.quality.finding import KINDS, SEVERITIES, Box, Finding, Severity, Sight
from rareseg.quality.negatives import Coverage
from rareseg.report.content import CasePicture, DataFacts, data_facts
from rareseg.report.page import asset, environment
from rareseg.report.pictures import Shot, errors_uri, image_uri, reference_uri, take_picture
from rareseg.report.wording import count, percent, quantity, size

MOST_SHOWN = 6
"""Sights of a finding that get a picture."""
MOST_LISTED = 200
"""Sights of a finding, and pairs, that are listed."""
LONGEST = 256
"""Pixels of the longer side of a picture."""
ZOOMED = ("one-voxel-islands", "small-holes")
"""Findings whose places are too small to be seen in the whole image."""
LEAST_CROP = 40
MOST_SPOTS = 12

HEADINGS: Mapping[Severity, str] = {
    "must be fixed": "Must be fixed",
    "worth a look": "Worth a look",
    "note": "Notes",
}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A case, or a part of it, as a picture.

    ``picture`` holds the image and, as its reference, all that is drawn. ``moved`` is the mask
    (y, x) where it would fit, ``None`` where nothing is proposed. ``spots`` are (top, left, height,
    width) of what is meant, as shares of the picture.
    """

    picture: CasePicture
    moved: NDArray[np.bool_] | None = None
    spots: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Scene:
    """What is shown of one sight: one case, or a pair side by side."""

    note: str
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True)
class SnapshotView:
    """A snapshot as the page shows it."""

    title: str
    tag: str
    image: str
    drawn: str
    moved: str
    spots: tuple[tuple[str, str, str, str], ...]
    width: int
    height: int


@dataclass(frozen=True)
class FindingView:
    """One finding with its pictures and the cases that are listed."""

    finding: Finding
    scenes: tuple[tuple[str, tuple[SnapshotView, ...]], ...]
    listed: tuple[Sight, ...]
    n_more: int


@dataclass(frozen=True)
class Bar:
    """One column of a histogram: its label, its number, and its height as a share."""

    label: str
    number: int
    height: float


@dataclass(frozen=True)
class RegionView:
    """One region: its numbers in words and the sizes of its lesions as a histogram."""

    facts: RegionFacts
    cells: tuple[str, ...]
    bars: tuple[Bar, ...]


def scenes_wanted(findings: Sequence[Finding]) -> dict[str, tuple[Sight, ...]]:
    """Return which sights of every finding get a picture: at most ``MOST_SHOWN`` of each.

    Notes and findings of a whole data set have none.
    """
    return {
        finding.name: finding.sights[:MOST_SHOWN]
        for finding in findings
        if finding.kind.severity != "note" and finding.sights
    }


def take_snapshot(
    finding: str,
    sight: Sight,
    case_id: str,
    group: str | None,
    image: NDArray[np.generic],
    drawn: NDArray[np.bool_],
) -> Snapshot:
    """Return the picture of one case of a sight; of a volume the slice where there is most to see.

    ``image`` is (C, z, y, x), ``drawn`` (z, y, x). Findings in :data:`ZOOMED` show the surroundings
    of the first place alone.
    """
    own = sight.boxes if case_id == sight.case_id else ()
    moved = sight.move.apply(drawn) if sight.move is not None else None
    if moved is not None and moved.shape != drawn.shape:
        moved = None
    plane = own[0][0][0] if own else int(np.argmax(drawn.sum(axis=(1, 2))))
    boxes = [box for box in own if box[0][0] <= plane < box[0][1]][:MOST_SPOTS]
    frame = ((0, drawn.shape[1]), (0, drawn.shape[2]))
    if finding in ZOOMED and boxes:
        frame = _surroundings(boxes[0], drawn.shape)
    (y0, y1), (x0, x1) = frame
    part = np.s_[:, y0:y1, x0:x1]
    picture = take_picture(
        Shot(case_id, "", "positive" if drawn.any() else "negative", ""),
        image[:, :, y0:y1, x0:x1],
        drawn[part],
        np.zeros_like(drawn[part]),
        group=group,
        plane=plane,
    )
    return Snapshot(
        replace(picture, image=_small(picture.image)),
        None if moved is None else moved[part][plane],
        tuple(
            (
                (top - y0) / (y1 - y0),
                (left - x0) / (x1 - x0),
                (b - top) / (y1 - y0),
                (r - left) / (x1 - x0),
            )
            for _, (top, b), (left, r) in boxes
            if y0 <= top < y1 and x0 <= left < x1
        ),
    )


def write_audit(
    path: Path, audit: Audit, *, title: str, scenes: Mapping[str, Sequence[Scene]]
) -> None:
    """Write the page, atomically; it loads nothing. Raises WorkError where that fails.

    ``scenes`` lead from a finding's name to its pictures.
    """
    text = render_audit(audit, title=title, scenes=scenes)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render_audit(audit: Audit, *, title: str, scenes: Mapping[str, Sequence[Scene]]) -> str:
    """Return the page as HTML. Equal contents give equal pages."""
    facts = audit.fingerprint.cases
    data = data_facts(audit.fingerprint) if facts else None
    voxel = "pixel" if data is None or data.dimension == 2 else "voxel"
    sections = [
        (severity, HEADINGS[severity], [_view(f, scenes) for f in audit.of(severity)])
        for severity in SEVERITIES
    ]
    found = {finding.name for finding in audit.findings}
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=title,
            audit=audit,
            data=data,
            voxel=voxel,
            verdict=verdict(audit),
            sections=[section for section in sections if section[2]],
            unseen=[
                kind.title
                for name, kind in KINDS.items()
                if name not in found and name not in audit.skipped and kind.severity != "note"
            ],
            skipped=[
                (KINDS[name].title, reason)
                for name, reason in audit.skipped.items()
                if name not in found
            ],
            regions=[_region(region, voxel) for region in audit.regions] if facts else [],
            ranges=_ranges(facts, data) if data is not None else [],
            warnings=[w for w in audit.fingerprint.warnings if not _said_elsewhere(w, audit)],
            coverages=[coverage_sentence(coverage) for coverage in audit.coverages],
            outlines=outlines_sentence(audit),
            pairs=audit.twins[:MOST_LISTED],
            css=asset("page.css") + asset("audit.css"),
        )
    )


def verdict(audit: Audit) -> tuple[str, str, str]:
    """Return (level, headline, what else there is to say) of the whole audit."""
    stops, look = audit.stops, audit.of("worth a look")
    allowed = [found for found in audit.findings if found.allowed]
    rest = [f"{count(len(look), 'finding')} worth a look"] if look else ["nothing else is odd"]
    if allowed:
        rest.append(f"{count(len(allowed), 'finding')} allowed")
    also = "; ".join(rest)
    if stops:
        noun = "thing must" if len(stops) == 1 else "things must"
        return "bad", f"{len(stops)} {noun} be fixed before training", also
    if look:
        return "warning", "Nothing must be fixed before training", also
    return "good", "Nothing stands in the way of training", also


def audit_lines(audit: Audit) -> list[str]:
    """Return the findings as plain lines for the terminal, the worst first."""
    marks = {"must be fixed": "x", "worth a look": "!", "note": "-"}
    lines = []
    for finding in audit.findings:
        mark = "~" if finding.allowed else marks[finding.kind.severity]
        allowed = " (allowed)" if finding.allowed else ""
        lines.append(f"{mark} {finding.name}{allowed}: {finding.text}")
    _, headline, also = verdict(audit)
    return [*lines, f"{headline}; {also}."]


def coverage_sentence(coverage: Coverage) -> str:
    """Say how much of the background of some images others know, or why that is not known."""
    if isinstance(coverage.known, Undefined):
        return (
            f"How far {coverage.by} know the background of {coverage.of} is not known: "
            f"{coverage.known.reason}."
        )
    return (
        f"{percent(coverage.known)} of the background of {coverage.n_of:,} {coverage.of} looks "
        f"like some background of {coverage.n_by:,} {coverage.by}."
    )


def outlines_sentence(audit: Audit) -> str:
    """Say how far outlines follow edges, and so whether misplaced masks could be told."""
    found = audit.outlines
    if found.silent:
        return f"Whether masks lie right could not be judged: {found.silent}."
    return (
        f"{percent(found.aligned)} of {count(found.n_judged, 'outline')} fit their image best "
        "where they are drawn, against which the others are judged."
    )


def _said_elsewhere(warning: str, audit: Audit) -> bool:
    """Tell whether a finding says in more detail what inspection warns of."""
    names = {finding.name for finding in audit.findings}
    return (warning.startswith("No group") and "ungrouped-cases" in names) or (
        "almost alike" in warning
    )


def _view(finding: Finding, scenes: Mapping[str, Sequence[Scene]]) -> FindingView:
    return FindingView(
        finding=finding,
        scenes=tuple(
            (scene.note, tuple(_snapshot(shot) for shot in scene.snapshots))
            for scene in scenes.get(finding.name, ())
        ),
        listed=finding.sights[:MOST_LISTED],
        n_more=max(0, len(finding.sights) - MOST_LISTED),
    )


def _snapshot(snapshot: Snapshot) -> SnapshotView:
    picture = snapshot.picture
    parts = [f"slice {picture.plane}"] if picture.plane is not None else []
    parts += [f"group {picture.group}"] if picture.group else []
    moved = ""
    if snapshot.moved is not None:
        # Missed voxels are drawn hollow and in another colour than the reference.
        moved = errors_uri(replace(picture, reference=snapshot.moved))
    height, width = picture.reference.shape
    return SnapshotView(
        title=picture.case_id,
        tag=", ".join(parts),
        image=image_uri(picture),
        drawn=reference_uri(picture) if picture.reference.any() else "",
        moved=moved,
        spots=tuple(_spot(*spot) for spot in snapshot.spots),
        width=width,
        height=height,
    )


def _spot(top: float, left: float, height: float, width: float) -> tuple[str, str, str, str]:
    """Return the place of a spot as the style sheet writes it."""
    return f"{top:.2%}", f"{left:.2%}", f"{height:.2%}", f"{width:.2%}"


def _surroundings(box: Box, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and columns around a box that are worth showing, within the image."""
    frame = []
    for axis in (1, 2):
        low, high = box[axis]
        side = min(shape[axis], max(LEAST_CROP, 3 * (high - low)))
        start = min(max(0, (low + high - side) // 2), shape[axis] - side)
        frame.append((start, start + side))
    return frame[0], frame[1]


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of at most LONGEST pixels a side."""
    factor = LONGEST / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(n * factor)) for n in image.shape[:2])
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BOX)
    return np.asarray(resized, np.uint8)


def _region(region: RegionFacts, voxel: str) -> RegionView:
    sizes = np.array(region.sizes)
    quartiles = (
        [size(float(v)) for v in np.percentile(sizes, [0, 25, 50, 75, 100])] if len(sizes) else []
    )
    cells = (
        percent(region.share),
        f"1 : {quantity(region.imbalance)}" if is_defined(region.imbalance) else "–",
        f"{region.n_cases:,}",
        f"{len(sizes):,}",
        quartiles[2] if quartiles else "–",
        f"{quartiles[0]} – {quartiles[4]}" if quartiles else "–",
    )
    return RegionView(region, cells, _bars(sizes))


def _bars(sizes: NDArray[np.int64]) -> tuple[Bar, ...]:
    """Return a histogram of lesion sizes whose columns are powers of 2 or 4 wide."""
    if not len(sizes):
        return ()
    powers = np.floor(np.log2(sizes)).astype(int)
    step = 1 if powers.max() - powers.min() < 12 else 2
    bins = powers // step
    numbers = np.bincount(bins - bins.min())
    most = int(numbers.max())
    return tuple(
        Bar(_short(2 ** (step * (k + int(bins.min())))), int(n), n / most)
        for k, n in enumerate(numbers)
    )


def _short(number: int) -> str:
    for limit, suffix in ((1_000_000, "M"), (1000, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{suffix}"
    return str(number)


def _ranges(facts: Sequence[CaseFacts], data: DataFacts) -> list[tuple[str, str, str, str]]:
    """Return (what, smallest, median, largest) over the cases: extents, spacings, intensities."""
    rows = []
    axes = ("height", "width") if data.dimension == 2 else ("depth", "height", "width")
    for number, axis in enumerate(axes, start=3 - len(axes)):
        rows.append((axis, np.array([fact.shape[number] for fact in facts], float)))
        spacing = np.array([fact.spacing[number] for fact in facts])
        if data.dimension == 3 or np.any(spacing != 1.0):
            rows.append((f"spacing along the {axis}, mm", spacing))
    for k in range(data.channels):
        of = f" of channel {k + 1}" if data.channels > 1 else ""
        channel = [fact.intensities[k] for fact in facts if len(fact.intensities) > k]
        rows.append((f"median value{of}", np.array([own.median for own in channel])))
        rows.append((f"0.5 to 99.5 percentile{of}", np.array([c.high - c.low for c in channel])))
    return [
        (name, *(_number(float(v)) for v in np.percentile(values, [0, 50, 100])))  # type: ignore[misc]
        for name, values in rows
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}".replace("-", "−")
