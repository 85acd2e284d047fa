"""Options that say how a data set is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rareseg.errors import UsageError

if TYPE_CHECKING:
    from rareseg.data.dataset import MissingMask as MissingMaskName
    from rareseg.run.setup.run_folder import DataOptions

GroupFrom = Annotated[
    str | None,
    typer.Option(
        "--group-from",
        metavar="REGEX",
        help="Reads the group (patient, tile) from each name: the first (…) of the pattern. With "
        "a run, the run's own pattern where not given; '' for none.",
    ),
]
MissingMask = Annotated[
    str | None,
    typer.Option(
        "--missing-mask",
        help="What an image without a mask is: 'error', or 'negative' (it holds nothing). With a "
        "run, as in the run where not given.",
    ),
]
LayoutName = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="NAME",
        help="How the folder is laid out, where its names are not to decide; `inspect` names it.",
    ),
]


@dataclass(frozen=True)
class ReadingOptions:
    """How a data set is read, beside its path."""

    group_from: GroupFrom = None
    missing_mask: MissingMask = None
    layout: LayoutName = None

    def data(self, path: Path) -> DataOptions:
        """Return how the data at ``path`` are opened; raises UsageError for an unknown word."""
        from rareseg.run.setup.run_folder import DataOptions

        allowed: dict[str | None, MissingMaskName | None] = {
            None: None,
            "error": "error",
            "negative": "negative",
        }
        if self.missing_mask not in allowed:
            raise UsageError(
                f"--missing-mask is {self.missing_mask!r}; allowed are error and negative."
            )
        return DataOptions(str(path), self.group_from, allowed[self.missing_mask], self.layout)
