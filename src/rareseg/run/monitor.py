"""Watch a stream of images: whether it is still like what the decisions of a model rest on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from rareseg.data.folder_lock import sole_writer
from rareseg.data.records import Role
from rareseg.errors import DataError, ScoreError
from rareseg.monitoring.watch_state import NAME, WatchState
from rareseg.progress import Track, silent
from rareseg.report.pages.monitor_page import write_monitor_page
from rareseg.run.predictions.prediction_summary import Failure
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg.run.setup.run_folder import require_free, require_no_links_out
from rareseg.run.setup.seen_images import learned_images
from rareseg.run.watching.label_list import Labels, draw_labels
from rareseg.run.watching.reference_images import (
    StreamImages,
    observe_reference,
    open_stream,
)
from rareseg.run.watching.watch_report import WatchReport, make_report
from rareseg.run.watching.watched_model import WatchedModel

PAGE = "report.html"


def monitor(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    reference: Path | str | None = None,
    group_from: str | None = None,
    labels: Labels | None = None,
    compare_members: bool = False,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> WatchReport:
    """Observe images that are new, test whether the stream has changed, and write the page.

    ``out`` keeps the state, and the next call goes on from there; ``reference`` are the images that
    the stream is held against, by default those of the run's own data that its networks learned
    nothing from, and counts at the first call. Each image counts once, by its bytes: those of the
    reference, and those that the model learned from, do not count in the stream. An image that
    cannot be read is a failure of its own. ``labels`` asks for groups to label. With
    ``compare_members`` the ranking for review also counts how far the networks of a mean disagree.

    Raises :class:`DataError` where there is no image, no reference, or the images are of other
    channels altogether or all of groups of the reference, :class:`OutputError` where ``out`` holds
    anything else, or watches another model, and as
    :class:`~rareseg.monitoring.watch_state.WatchState` does.
    """
    out, named = Path(out), None if reference is None else Path(reference)
    model = WatchedModel.open(Path(run), device, compare_members=compare_members)
    stream = open_stream(Path(images), model, out, group_from, say)
    with sole_writer(out):
        state_file = out / NAME
        require_no_links_out(out)
        if not state_file.is_file():
            require_free(out)
        with WatchState(state_file, model.features) as state:
            state.claim(model.about())
            observe_reference(state, model, named, group_from, track=track, say=say)
            failures, counts = _observe_stream(state, model, stream, track)
            state.seal()
            _require_groups(state, run, counts)
            drawn = None if labels is None else draw_labels(state, model, labels, out)
            report = make_report(
                state, model, out / PAGE, counts=counts, failures=failures,
                remarks=stream.remarks, drawn=drawn, track=track,
            )  # fmt: skip
            state.note("result", report.lasting())
        write_monitor_page(report.page, report.content)
        return report


def _require_groups(state: WatchState, run: Path | str, counts: Counter[str]) -> None:
    """Raise :class:`DataError` where no group of the stream counts, so that nothing is known."""
    seen = state.observed()
    if seen.stream:
        return
    known = counts["reference"] + counts["learned"]
    raise DataError(
        f"No image counts in the stream: {known} are images that {run} was made from or that the "
        f"stream is held against, and {len(seen.late)} are of groups of the reference; name new "
        "images, or say with --group-from what tells their groups apart."
    )


def _observe_stream(
    state: WatchState, model: WatchedModel, stream: StreamImages, track: Track
) -> tuple[tuple[Failure, ...], Counter[str]]:
    """Observe the images that are new; return which could not be, and how many are what."""
    learned: dict[str, Role] = {} if model.folder is None else learned_images(model.folder)
    failures: list[Failure] = []
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for case in track(stream.cases, "observing the stream", len(stream.cases)):
        digest = stream.digests[case.id]
        part = state.part_of(digest)
        if part == "stream":
            counts["repeated" if digest in seen else "known"] += 1
        elif part == "reference":
            counts["reference"] += 1
        elif part == "training" or digest in learned:
            counts["learned"] += 1
        else:
            try:
                state.add("stream", model.observe(case, digest))
                counts["new"] += 1
            except (DataError, ScoreError) as error:
                failures.append(Failure(str(case.images[0]), str(error)))
        seen.add(digest)
    if failures and len(failures) == len(stream.cases):
        raise DataError(
            f"None of {len(failures)} images could be observed: {failures[0].reason.rstrip('.')} "
            f"({failures[0].image})."
        )
    return tuple(failures), counts
