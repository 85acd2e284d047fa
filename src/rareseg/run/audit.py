"""Run an audit and write its page, its JSON and a manifest of proposed groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rareseg.data.folder_lock import one_writer
from rareseg.data.layouts.manifests.manifest_writing import check_manifest_place, write_manifest
from rareseg.data.records import Case
from rareseg.errors import DataError
from rareseg.progress import Track, silent
from rareseg.quality.audit import Audit, Example, audit_dataset, check_allowed, read_case
from rareseg.report.figures.audit_pictures import Scene, Snapshot, scenes_wanted, take_snapshot
from rareseg.report.pages.audit_page import write_audit
from rareseg.run.outputs.receipt import receipt_for, require_ours
from rareseg.run.setup.run_folder import DataOptions
from rareseg_runner.atomic_files import remove_leftovers
from rareseg_runner.image_records import IGNORE, Classes

FILES = ("audit.html", "audit.json")
RECEIPT = "audit_receipt.json"
"""Says which files of a folder an audit wrote; a later one replaces these alone."""


@dataclass(frozen=True, eq=False)
class AuditResult:
    """An audit and where it was written.

    ``manifest`` is ``None`` where none was wanted, or where files have problems: a mask that is
    missing would stand there as empty.
    """

    audit: Audit
    page: Path
    record: Path
    manifest: Path | None


@one_writer("out")
def audit(
    options: DataOptions,
    out: Path,
    *,
    allow: Collection[str] = (),
    manifest: Path | None = None,
    jobs: int = -1,
    track: Track = silent,
) -> AuditResult:
    """Audit a data set into ``out``: ``audit.html`` and ``audit.json``; an earlier one is replaced.

    ``allow`` names findings that do not stop. ``manifest`` is written with groups that keep
    look-alikes together, unless files have problems. Raises OutputError where ``out`` holds
    anything else, or files of an audit that were changed since, or the manifest cannot be written
    there, UsageError for an unknown finding; all before any file is read.
    """
    check_allowed(allow)
    require_ours(out, RECEIPT, FILES)
    dataset = options.open()
    if manifest is not None:
        check_manifest_place(manifest, dataset)
    found = audit_dataset(dataset, allow=allow, jobs=jobs, track=track)
    remove_leftovers(out)
    cases = {case.id: case for case in dataset.cases}
    wanted = scenes_wanted(found.findings)
    scenes = {
        name: [_scene(name, example, cases, found.fingerprint.classes) for example in examples]
        for name, examples in track(wanted.items(), "Drawing the page", len(wanted))
    }
    page, record = (out / name for name in FILES)
    title = f"Audit of {Path(options.path).resolve().name}"
    with receipt_for(out, RECEIPT, FILES):
        write_audit(page, found, title=title, scenes=scenes)
        found.to_json(record)
    if manifest is None or found.fingerprint.problems:
        return AuditResult(found, page, record, None)
    return AuditResult(found, page, record, write_manifest(manifest, dataset, found.groups))


def _scene(finding: str, example: Example, cases: Mapping[str, Case], classes: Classes) -> Scene:
    """Return the pictures of a sight, of those of its cases that can still be read."""
    taken = [
        _snapshot(finding, example, cases[name], classes)
        for name in (example.case_id, example.other)
        if name in cases
    ]
    return Scene(example.note, tuple(shot for shot in taken if shot is not None))


def _snapshot(finding: str, example: Example, case: Case, classes: Classes) -> Snapshot | None:
    try:
        image, labels, _ = read_case(case, classes)
    except DataError:
        return None
    drawn = np.asarray((labels > 0) & (labels != IGNORE), np.bool_)
    return take_snapshot(finding, example, case.id, case.group, image, drawn)
