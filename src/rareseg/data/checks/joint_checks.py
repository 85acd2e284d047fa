"""Check cases side by side: channels, dimensions, contradicting copies, groups, intensities."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from rareseg.data.checks.case_checks import ExaminedCase, first_file
from rareseg.data.checks.problems import Findings
from rareseg.data.records import Case, Dataset, MaskRules
from rareseg_runner.preprocessing.photo_channels import COLOURS

Read = Sequence[tuple[Case, ExaminedCase]]


def grey_among_colour(read: Read) -> bool:
    """Whether the photographs of a data set are grey in part and in colour else."""
    kinds = {(found.geometry.dimension, len(found.intensities)) for _, found in read}
    return kinds == {(2, 1), (2, COLOURS)}


def check_together(
    dataset: Dataset, read: Read, positive: Sequence[bool], findings: Findings
) -> None:
    """Add what only shows when all cases are seen side by side.

    ``positive`` says of each case whether it holds any foreground.
    """
    if read and not any(positive):
        findings.problem(
            f"{dataset.root} has no positive case: each of {len(read)} holds only background; add "
            "images that show what is to be found, with their masks.",
            kind="no positive case",
        )
    _check_channels(read, findings)
    _check_contradictions(read, positive, findings)
    _warn_of_far_values(read, dataset.rules, findings)
    turned = [case for case, found in read if found.turned]
    if turned:
        findings.warn(
            f"{first_file(turned[0])} and {len(turned) - 1} more photographs are turned by an EXIF "
            "note that their masks lack; the masks are taken to lie on the picture as a viewer "
            "shows it."
        )


def check_groups(cases: Sequence[Case], findings: Findings) -> None:
    """Warn of cases without a group."""
    alone = sum(case.group is None for case in cases)
    if alone:
        findings.warn(
            f"No group (patient, object) is known for {alone} of {len(cases)} cases: each counts "
            "as independent; if several show the same thing, give groups with --group-from or a "
            "manifest's group column.",
            kind="no groups",
        )


def _check_channels(read: Read, findings: Findings) -> None:
    odd = _uncommon_kinds(
        read,
        lambda found: "one slice (2D)" if found.geometry.dimension == 2 else "a volume (3D)",
        "keep photographs and volumes in data sets of their own",
    )
    if grey_among_colour(read):
        grey = [case for case, found in read if len(found.intensities) == 1]
        noun = "photograph is" if len(grey) == 1 else "photographs are"
        findings.warn(
            f"{len(grey)} of {len(read)} {noun} grey among photographs in colour, such as "
            f"{first_file(grey[0])}: the grey is repeated as red, green and blue.",
            kind="grey and colour",
        )
    else:
        odd += _uncommon_kinds(
            read,
            lambda found: _channels(len(found.intensities)),
            "convert all images to the same number of channels",
        )
    for text in odd:
        findings.problem(text)


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _uncommon_kinds(read: Read, kind: Callable[[ExaminedCase], str], remedy: str) -> list[str]:
    """Return one sentence for each kind that is not the commonest."""
    counts = Counter(kind(found) for _, found in read)
    usual = counts.most_common(1)[0][0] if counts else ""
    problems = []
    for odd, count in counts.items():
        if odd != usual:
            first = next(case for case, found in read if kind(found) == odd)
            more = f" (as {count - 1} more have)" if count > 1 else ""
            problems.append(
                f"{first_file(first)} has {odd}{more} where {counts[usual]} cases have {usual}; "
                f"{remedy}."
            )
    return problems


def _check_contradictions(read: Read, positive: Sequence[bool], findings: Findings) -> None:
    """Find images that are there twice, once with something drawn and once with nothing."""
    alike: defaultdict[str, list[tuple[Case, bool]]] = defaultdict(list)
    for (case, found), holds in zip(read, positive, strict=True):
        if found.digest:
            alike[found.digest].append((case, holds))
    for copies in alike.values():
        with_something = [case for case, holds in copies if holds]
        with_nothing = [case for case, holds in copies if not holds]
        if with_something and with_nothing:
            a, b = with_something[0], with_nothing[0]
            findings.problem(
                f"{first_file(a)} and {first_file(b)} are the same image, in which something is "
                "drawn once and nothing once; remove the wrong one.",
                kind="contradiction",
                where=b.id,
            )


def _warn_of_far_values(read: Read, rules: MaskRules, findings: Findings) -> None:
    """Ask about numbers that usually mean nothing, and warn of intensities far from all others."""
    asked: defaultdict[str, list[Case]] = defaultdict(list)
    for case, found in read:
        if found.fill is not None and rules.nodata_value is None:
            asked[found.fill].append(case)
    for number, cases in asked.items():
        noun = "image holds" if len(cases) == 1 else "images hold"
        findings.warn(
            f"{len(cases)} {noun} the number {number}, such as {first_file(cases[0])}, which "
            "programs write where nothing was measured: if it means that, say "
            f"--nodata-value {number}, so that such voxels count nowhere; if it is an intensity, "
            "--nodata-value none.",
            kind="intensities",
            option="--nodata-value",
        )
    fills: defaultdict[float, list[Case]] = defaultdict(list)
    hot = []
    for case, found in read:
        if found.fill in asked:
            continue
        limits = [limit for limit in found.limits if limit is not None]
        for value in {limit.fill for limit in limits if limit.fill is not None}:
            fills[value].append(case)
        single = [limit for limit in limits if limit.fill is None]
        if single:
            hot.append((case, single[0]))
    for value, cases in fills.items():
        noun = "image holds" if len(cases) == 1 else "images hold"
        findings.warn(
            f"{len(cases)} {noun} the value {value:g} far outside of the range of all others, such "
            f"as {first_file(cases[0])}: it is taken as a fill value, at the end of that range; "
            f"where nothing was measured there, --nodata-value {value:.9g} leaves such voxels out.",
            kind="intensities",
        )
    if hot:
        case, limit = hot[0]
        noun = "image holds" if len(hot) == 1 else "images hold"
        findings.warn(
            f"{len(hot)} {noun} outliers far outside of the range of all other voxels, such as "
            f"{first_file(case)} ({limit.n_outside} voxels, up to "
            f"{max(limit.most, limit.least, key=abs):g}): they are limited to {limit.low:.4g} … "
            f"{limit.high:.4g}.",
            kind="intensities",
        )
