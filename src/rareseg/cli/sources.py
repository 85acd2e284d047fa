"""Which scores a command is about: those of a run's model, or another tool's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rareseg.cli.options import data_options
from rareseg.cli.output import bar
from rareseg.errors import UsageError

if TYPE_CHECKING:
    from rareseg.data.records import Role
    from rareseg.run.file_scores import ScoreFiles
    from rareseg.run.folder import DataOptions
    from rareseg.run.sources import ScoreSource


def score_files(
    run: Path | None,
    probabilities: Path | None,
    references: Path | None,
    split: Path | None,
    group_from: str | None,
    missing_mask: str | None,
) -> ScoreFiles | None:
    """Return the scores of another tool that are meant, None for a run; both or none is refused."""
    from rareseg.run.file_scores import ScoreFiles

    if probabilities is None and references is None and split is None:
        if run is None:
            raise UsageError("Name a RUN, or --probabilities DIR and --references DATA.")
        return None
    if run is not None or probabilities is None or references is None:
        raise UsageError(
            "--probabilities DIR and --references DATA go together, in place of a RUN; name either."
        )
    return ScoreFiles(probabilities, data_options(references, group_from, missing_mask), split)


def decided_source(
    run: Path | None,
    files: ScoreFiles | None,
    out: Path | None,
    region: str | None,
    device: str,
    *,
    new: DataOptions | None = None,
    certifies: bool = False,
) -> ScoreSource:
    """Return what is decided about: a run's model, or the files of another tool."""
    from rareseg.run.file_source import FileSource
    from rareseg.run.network_source import NetworkSource

    if files is None:
        assert run is not None, "score_files refuses neither"
        if out is not None:
            raise UsageError("--out belongs to --probabilities; a run keeps its own points.")
        return NetworkSource.open(run, new, device=device)
    if out is None:
        raise UsageError("--probabilities needs --out DIR to write to.")
    roles: tuple[Role, ...] = ("select", "certify") if certifies else ("select",)
    return FileSource.to_decide(files, out, roles=roles, region=region, track=bar)
