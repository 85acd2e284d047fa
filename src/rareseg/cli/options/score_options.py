"""Options that name scores: those of a run's model, or another tool's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rareseg.cli.options.reading_options import ReadingOptions
from rareseg.cli.options.shared_options import Probabilities, References, SplitFile, Verify
from rareseg.cli.terminal import bar
from rareseg.errors import UsageError

if TYPE_CHECKING:
    from rareseg.data.records import Role
    from rareseg.run.scores.file_scores import ScoreFiles
    from rareseg.run.scores.score_source import ScoreSource
    from rareseg.run.setup.run_folder import DataOptions


@dataclass(frozen=True)
class ScoreOptions(ReadingOptions):
    """The scores of another tool, in place of a run's, and how data are read."""

    probabilities: Probabilities = None
    references: References = None
    split: SplitFile = None
    verify: Verify = False

    def files(self, run: Path | None, masks: Path | None = None) -> ScoreFiles | None:
        """Return the scores, or finished masks, that are meant; None for a run.

        Raises UsageError where both or none are given.
        """
        from rareseg.run.scores.file_scores import ScoreFiles

        folder = masks or self.probabilities
        if folder is None and self.references is None and self.split is None:
            if run is None:
                raise UsageError("Name a RUN, or --probabilities DIR and --references DATA.")
            return None
        if run is not None or folder is None or self.references is None:
            raise UsageError(
                "--probabilities DIR and --references DATA go together, in place of a RUN; name "
                "either."
            )
        references = self.data(self.references)
        return ScoreFiles(folder, references, self.split, finished=masks is not None)

    def require_no_grouping(self, what: str) -> None:
        """Raise UsageError where it is said how data are read, while none are named."""
        if self.given:
            raise UsageError(
                f"--group-from, --missing-mask, --layout and the options of masks say how {what} "
                "is read; the run's own cases are read as it was begun."
            )


def decided_source(
    run: Path | None,
    files: ScoreFiles | None,
    out: Path | None,
    region: str | None,
    device: str,
    *,
    new: DataOptions | None = None,
    certifies: bool = False,
    verify: bool = False,
) -> ScoreSource:
    """Return what is decided about: a run's model, or the files of another tool."""
    from rareseg.run.scores.file_source import FileSource
    from rareseg.run.scores.network_source import NetworkSource

    if files is None:
        assert run is not None, "ScoreOptions.files refuses neither"
        if out is not None:
            raise UsageError("--out belongs to --probabilities; a run keeps its own points.")
        return NetworkSource.open(run, new, device=device, verify=verify)
    if out is None:
        raise UsageError("--probabilities needs --out DIR to write to.")
    roles: tuple[Role, ...] = ("validation", "certify") if certifies else ("validation",)
    return FileSource.to_decide(files, out, roles=roles, region=region, track=bar)
