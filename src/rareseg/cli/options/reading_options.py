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
MaskName = Annotated[
    str | None,
    typer.Option(
        "--mask-name",
        metavar="PATTERN",
        help="How masks are called after their images, where that is not found by itself: "
        "'{id}_mask', or 'gt/{id}' to name their folder too.",
    ),
]
FolderSplit = Annotated[
    bool | None,
    typer.Option(
        "--folder-split/--no-folder-split",
        help="Whether folders and lists such as train and val say the roles of the cases.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class ReadingOptions:
    """How a data set is read, beside its path."""

    group_from: GroupFrom = None
    missing_mask: MissingMask = None
    layout: LayoutName = None
    mask_name: MaskName = None
    folder_split: FolderSplit = None

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
        return DataOptions(
            str(path),
            self.group_from,
            allowed[self.missing_mask],
            self.layout,
            mask_name=self.mask_name,
            folder_split=self.folder_split,
        )
