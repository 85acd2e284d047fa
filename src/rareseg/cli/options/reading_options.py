"""Options that say how a data set is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from rareseg.errors import UsageError

if TYPE_CHECKING:
    from rareseg.data.dataset import MissingMask as MissingMaskName
    from rareseg.data.records import MaskRules
    from rareseg.run.setup.run_folder import DataOptions

Word = TypeVar("Word", bound=str)

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
        "'{id}_mask', or 'gt/{id}' to name their folder too. With a run, as in the run.",
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
MASKS = "How mask files are read"
InvertMasks = Annotated[
    bool | None,
    typer.Option(
        "--invert-masks/--no-invert-masks",
        help="0 marks what is to be found, or it does not, however much is foreground.",
        show_default=False,
        rich_help_panel=MASKS,
    ),
]
Binarize = Annotated[
    float | None,
    typer.Option(
        "--binarize",
        metavar="VALUE",
        help="What is at least VALUE is foreground: 128 for blurred masks, 0.5 for probabilities.",
        rich_help_panel=MASKS,
    ),
]
ValuesAre = Annotated[
    str | None,
    typer.Option(
        "--values-are",
        help="What the numbers in masks are: 'classes', or 'objects' of one class.",
        rich_help_panel=MASKS,
    ),
]
ResizeMasks = Annotated[
    bool,
    typer.Option(
        "--resize-masks",
        help="Bring masks of another size to their image's size, by nearest neighbours.",
        rich_help_panel=MASKS,
    ),
]
Colours = Annotated[
    str | None,
    typer.Option(
        "--colours",
        metavar="RRGGBB,…",
        help="The colours of the classes, the first is 1; black is background. 'index': a "
        "palette's numbers are meant.",
        rich_help_panel=MASKS,
    ),
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        help="Which class counts where several are drawn: the 'later' one, or the 'earlier'.",
        rich_help_panel=MASKS,
    ),
]
IgnoreValue = Annotated[
    int | None,
    typer.Option(
        "--ignore-value",
        metavar="VALUE",
        help="Voxels of this value in masks count nowhere, such as 255.",
        rich_help_panel=MASKS,
    ),
]
NodataValue = Annotated[
    str | None,
    typer.Option(
        "--nodata-value",
        metavar="VALUE",
        help="Voxels of this number in images, such as -9999 or nan, hold nothing that was "
        "measured: they are filled and count nowhere. 'none': every number is an intensity.",
    ),
]
IgnoreUnread = Annotated[
    bool,
    typer.Option(
        "--ignore-unread",
        help="Files beside the masks that are not read are no masks.",
        rich_help_panel=MASKS,
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
    invert_masks: InvertMasks = None
    binarize: Binarize = None
    values_are: ValuesAre = None
    resize_masks: ResizeMasks = False
    colours: Colours = None
    overlap: Overlap = None
    ignore_value: IgnoreValue = None
    nodata_value: NodataValue = None
    ignore_unread: IgnoreUnread = False

    @property
    def given(self) -> bool:
        """Whether anything is said of how data are read."""
        own = (self.group_from, self.missing_mask, self.layout, self.mask_name, self.folder_split)
        return any(value is not None for value in own) or bool(self.rules().to_dict())

    def rules(self) -> MaskRules:
        """Return how files are read; raises UsageError for an unknown word, colour or number."""
        from rareseg.data.records import MaskRules

        orders: tuple[Literal["later", "earlier"], ...] = ("later", "earlier")
        meanings: tuple[Literal["classes", "objects"], ...] = ("classes", "objects")
        overlap = one_of("--overlap", self.overlap, orders)
        values_are = one_of("--values-are", self.values_are, meanings)
        rules = MaskRules(
            invert=self.invert_masks,
            binarize=self.binarize,
            values_are=values_are,
            resize=self.resize_masks,
            colours=_colours(self.colours),
            overlap=overlap,
            ignore_value=self.ignore_value,
            nodata_value=_number(self.nodata_value),
            ignore_unread=self.ignore_unread,
        )
        if rules.binarize is not None and rules.colours:
            raise UsageError("--binarize and --colours both make labels; leave one of them out.")
        return rules

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
            rules=self.rules(),
        )


def one_of(option: str, word: str | None, allowed: tuple[Word, ...]) -> Word | None:
    """Return the word of an option, None where it was not given; UsageError for another word."""
    for known in allowed:
        if word == known:
            return known
    if word is None:
        return None
    raise UsageError(f"{option} is {word!r}; allowed are {' and '.join(allowed)}.")


def _number(text: str | None) -> str | None:
    """Return the number of --nodata-value as Python writes it, or the word none."""
    if text is None or text.strip().lower() == "none":
        return None if text is None else "none"
    try:
        value = float(text)
    except ValueError:
        raise UsageError(
            f"--nodata-value is {text!r}; allowed are a number, such as -9999, nan and none."
        ) from None
    return repr(value)


def _colours(text: str | None) -> tuple[str, ...]:
    """Return the colours of a list such as ``ff0000,#00FF00``; UsageError for anything else."""
    if text is None:
        return ()
    words = tuple(word.strip().lstrip("#").lower() for word in text.split(","))
    wrong = [word for word in words if re.fullmatch("[0-9a-f]{6}", word) is None]
    if words != ("index",) and (wrong or len(set(words)) < len(words) or "000000" in words):
        raise UsageError(
            f"--colours is {text!r}; allowed are different colours of six hexadecimal digits "
            "each, such as ff0000,00ff00 (black is background), or the word index."
        )
    return words
