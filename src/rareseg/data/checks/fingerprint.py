"""Inspect a data set in one pass over its files: contents, problems, warnings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from rareseg.data.case_files import readers_at_once
from rareseg.data.checks.case_checks import ChannelFacts, ExaminedCase, examine, mask_name
from rareseg.data.checks.joint_checks import check_groups, check_together, grey_among_colour
from rareseg.data.checks.problems import Findings, Problem
from rareseg.data.checks.read_classes import resolve_classes
from rareseg.data.checks.value_checks import MaskRead, check_values
from rareseg.data.identity import content_hash
from rareseg.data.look_alikes import (
    ComparedCase,
    LookAlike,
    ThumbnailFile,
    across_groups,
    find_look_alikes,
)
from rareseg.data.records import Case, Dataset, Role
from rareseg.errors import DataError
from rareseg.progress import Track, silent
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.image_records import Classes
from rareseg_runner.memory_limit import stated_limit, within
from rareseg_runner.preprocessing.photo_channels import COLOURS
from rareseg_runner.text_files import read_json

PROCESSES_FROM = 2000
"""From this many cases on, processes read in parallel; below it, threads."""


@dataclass(frozen=True)
class CaseFacts:
    """What one case holds.

    ``shape`` and ``spacing`` (mm) are (z, y, x); ``dimension`` is 2 for photographs, 3 for
    volumes; ``dtype`` is numpy's name of the stored number type. ``voxels[k]`` counts class index
    k, ``ignored`` the voxels that count nowhere. ``intensities`` has one entry per channel.
    ``thickness`` is that of what is drawn on a photograph (see
    :func:`rareseg.data.checks.mask_facts.thickness`), in pixels. ``small_objects[k]`` counts the
    objects of ``k + 1`` voxels, up to 64. Of a grey photograph among photographs in colour,
    channels and intensities are those of the repeated grey.
    """

    id: str
    group: str | None
    role: Role | None
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    dimension: int
    channels: int
    dtype: str
    voxels: tuple[int, ...]
    ignored: int
    intensities: tuple[ChannelFacts, ...]
    thumbnail_hash: str
    thickness: float | None = None
    small_objects: tuple[int, ...] = ()

    @property
    def is_positive(self) -> bool:
        """Whether any foreground class occurs."""
        return any(self.voxels[1:])


@dataclass(frozen=True)
class Fingerprint:
    """What a data set holds.

    ``cases`` are those that could be read. ``problems`` stop a training, ``warnings`` do not.
    ``look_alikes`` are all pairs of cases that look almost alike, also within a group, the most
    alike first. ``content_hash`` changes when the bytes of a file do, or a name
    (:func:`rareseg.data.identity.content_hash`). ``channel_names`` are what the data set declares,
    None where it does not. ``compared`` is what look-alikes were found by, of the cases that could
    be read; the file of :meth:`to_json` does not hold it.
    """

    cases: tuple[CaseFacts, ...]
    classes: Classes
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    look_alikes: tuple[LookAlike, ...]
    content_hash: str
    channel_names: tuple[str, ...] | None = None
    compared: tuple[ComparedCase, ...] = field(default=(), compare=False, repr=False)

    @property
    def questions(self) -> tuple[Problem, ...]:
        """The warnings that stop a training until the option that each names is given."""
        return tuple(warning for warning in self.warnings if warning.option)

    @property
    def look_alikes_across_groups(self) -> tuple[LookAlike, ...]:
        """The pairs that no known group unites."""
        return across_groups(self.look_alikes, {case.id: case.group for case in self.cases})

    @property
    def copies_across_groups(self) -> tuple[LookAlike, ...]:
        """Those of them that show one thing: where a split tears them apart, it leaks."""
        return tuple(pair for pair in self.look_alikes_across_groups if pair.copy)

    def to_json(self, path: Path) -> None:
        """Write the record, atomically."""
        content = asdict(replace(self, look_alikes=(), compared=()))
        del content["compared"]
        content |= {
            "classes": self.classes.to_dict(),
            "look_alikes": [pair.to_list() for pair in self.look_alikes],
        }
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path) -> Fingerprint:
        """Read what :meth:`to_json` wrote; raises DataError for anything else.

        Earlier versions wrote ``near_duplicates``, of which how they lie is not known.
        """
        try:
            content = read_json(path)
            pairs = content["look_alikes" if "look_alikes" in content else "near_duplicates"]
            return cls(
                cases=tuple(_case_from(entry) for entry in content["cases"]),
                classes=Classes.from_dict(content["classes"]),
                problems=tuple(map(Problem.read, content["problems"])),
                warnings=tuple(map(Problem.read, content["warnings"])),
                look_alikes=tuple(map(LookAlike.from_list, pairs)),
                content_hash=content["content_hash"],
                channel_names=_names(content.get("channel_names")),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is no fingerprint of a data set ({error}); inspect the data again."
            ) from error


def inspect_dataset(dataset: Dataset, *, jobs: int = -1, track: Track = silent) -> Fingerprint:
    """Read every file once, in parallel, and report what is there and all that is wrong.

    Never raises for the data's sake: an empty or broken data set gives problems. What is kept per
    case is a few numbers and a spectrum of 1.4 kB; a picture of at most 96² bytes (volumes: 40³)
    goes into a temporary file. Of an id that occurs twice, which is a problem, the first case is
    compared with others.
    """
    cases = dataset.cases
    findings = Findings(
        [Problem("data", text) for text in dataset.problems],
        [Problem("unread files", text) for text in dataset.warnings],
    )
    # Decoding and decompressing release the interpreter's lock; processes take seconds to start.
    prefer = "threads" if len(cases) < PROCESSES_FROM else "processes"
    at_once = readers_at_once(cases, jobs)
    parallel = Parallel(n_jobs=at_once, prefer=prefer, return_as="generator")
    results = parallel(delayed(within)(stated_limit(), examine, case) for case in cases)
    read: list[tuple[Case, ExaminedCase]] = []
    shelf, numbers = ThumbnailFile(), []
    steps = track(results, "Inspecting", len(cases))
    for case, (examined, problems) in zip(cases, steps, strict=True):
        findings.problems += [Problem("data", text, case.id) for text in problems]
        if examined is not None:
            numbers.append(shelf.put(examined.thumbnail))
            read.append((case, replace(examined, thumbnail=None)))
    drawn = [
        MaskRead(mask_name(case), found.values, found.mask) for case, found in read if found.mask
    ]
    check_values(dataset, drawn, findings)
    masks = {mask.file: tuple(mask.values) for mask in drawn}
    classes = resolve_classes(dataset, masks, findings)
    repeat = COLOURS if grey_among_colour(read) else None
    facts = tuple(_facts(case, examined, classes, repeat) for case, examined in read)
    check_together(dataset, read, [fact.is_positive for fact in facts], findings)
    check_groups([case for case, _ in read], findings)
    thumbnails = shelf.thumbnails()
    seen = {
        case.id: ComparedCase(
            case.id, case.group, examined.digest, None if number is None else thumbnails[number]
        )
        for (case, examined), number in reversed(list(zip(read, numbers, strict=True)))
    }
    pairs = find_look_alikes(list(seen.values()), jobs=jobs, track=track)
    fingerprint = Fingerprint(
        cases=facts,
        classes=classes,
        problems=tuple(dict.fromkeys(findings.problems)),
        warnings=tuple(findings.warnings),
        look_alikes=pairs,
        content_hash=content_hash(dataset),
        channel_names=dataset.channel_names,
        compared=tuple(seen.values()),
    )
    return replace(fingerprint, warnings=(*fingerprint.warnings, *_look_alikes(fingerprint)))


def _facts(case: Case, examined: ExaminedCase, classes: Classes, repeat: int | None) -> CaseFacts:
    channels = examined.intensities
    if repeat is not None and len(channels) == 1:
        channels = channels * repeat
    counts = examined.values
    ignored = 0 if classes.ignore_value is None else counts.get(classes.ignore_value, 0)
    return CaseFacts(
        id=case.id,
        group=case.group,
        role=case.role,
        shape=examined.shape,
        spacing=examined.geometry.spacing,
        dimension=examined.geometry.dimension,
        channels=len(channels),
        dtype=examined.dtype,
        voxels=tuple(counts.get(value, 0) for value in classes.values),
        ignored=ignored,
        intensities=channels,
        thumbnail_hash=examined.thumbnail_hash,
        thickness=examined.thickness,
        small_objects=() if examined.mask is None else examined.mask.small_objects,
    )


def _look_alikes(fingerprint: Fingerprint) -> list[Problem]:
    """Return warnings of look-alikes that no group unites."""
    copies = fingerprint.copies_across_groups
    n_of_a_kind = len(fingerprint.look_alikes_across_groups) - len(copies)
    warnings = []
    if copies:
        noun = "pair of images looks" if len(copies) == 1 else "pairs of images look"
        warnings.append(
            f"{len(copies)} {noun} almost alike without belonging to one group (most of all "
            f"{copies[0].a} and {copies[0].b}, similarity {copies[0].similarity:.3f}): if they "
            "show the same thing, group them, or the test set leaks."
        )
    if n_of_a_kind:
        noun = "pair of images looks" if n_of_a_kind == 1 else "pairs of images look"
        warnings.append(
            f"{n_of_a_kind} {noun} alike as different things of one kind do, and count as "
            "different; if they show one thing, group them."
        )
    return [Problem("look-alikes", text) for text in warnings]


def _case_from(entry: dict[str, Any]) -> CaseFacts:
    shapes = {key: tuple(entry[key]) for key in ("shape", "spacing", "voxels")}
    shapes["small_objects"] = tuple(entry.get("small_objects", ()))
    channels = tuple(ChannelFacts(**channel) for channel in entry["intensities"])
    return CaseFacts(**{**entry, **shapes, "intensities": channels})


def _names(content: list[str] | None) -> tuple[str, ...] | None:
    return None if content is None else tuple(content)
