"""Records of the data: case, data set, how masks are read, and roles.

Images, masks and classes are those of :mod:`rareseg_runner.image_records`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from rareseg.errors import UsageError
from rareseg.typed_records import require_types
from rareseg_runner.image_records import Image, Mask

Role = Literal["train", "validation", "certify", "test", "out-of-fold"]
ROLES: tuple[Role, ...] = ("train", "validation", "certify", "test")
"""What a case can be given to do."""

SCORED_AS: tuple[Role, ...] = get_args(Role)
"""As what a case can be scored: "out-of-fold" by those of several networks that had not seen it."""


def role_named(word: str) -> str:
    """Return a role's name of today: earlier versions called validation "select"."""
    return "validation" if word == "select" else word


def object_named(word: str) -> str:
    """Return a name of today: earlier versions called an object a lesion.

    Names of the BraTS challenge, whose measure is called lesion-wise, stay.
    """
    return word if word.startswith("brats") else word.replace("lesion", "object")


class MaskSource(ABC):
    """A mask that is not one file of mask values: how it is made of the files that it names.

    Polygons in an annotation file and one file for each class are such masks. An implementation is
    a frozen dataclass whose text representation differs where it reads differently. In sentences it
    is called by its first file.
    """

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The files that the mask is read from, at least one."""

    @abstractmethod
    def read(self, image: Image) -> Mask:
        """Return the mask of this image (z, y, x); raises :class:`~rareseg.errors.ReadError`."""

    def earlier_on_top(self) -> MaskSource:
        """Return the same mask with what is drawn first on top, where classes overlap.

        Raises :class:`~rareseg.errors.UsageError` where the order cannot be turned round.
        """
        raise UsageError(
            f"{self} cannot be drawn in another order; give --overlap later, or no --overlap."
        )

    def __str__(self) -> str:
        return str(self.files[0])


@dataclass(frozen=True)
class MaskRules:
    """How the files of a data set's masks are to be read, where they are not plain label values.

    ``None`` stands for a question that was not answered: data that raise it stop a training.

    * ``invert``: 0 is what is to be found and all else background; False says that it is not so.
    * ``binarize``: what is at least this value is foreground, the rest background.
    * ``values_are``: values are ``classes``, or numbers of ``objects`` of one class.
    * ``resize``: a mask of another size is brought to its image's size, by nearest neighbours.
    * ``colours``: six hexadecimal digits each; the first is the value 1, the second 2; black is
      0. The word ``index`` alone says that a palette's indices are meant, whatever its colours.
    * ``overlap``: which class counts where several are drawn, the ``later`` one or the ``earlier``.
    * ``ignore_value``: voxels of this value count nowhere.
    * ``nodata_value`` is about images: voxels of this number (``nan`` too) hold nothing that was
      measured, are filled and count nowhere. The word ``none`` says that there is no such value.
    * ``ignore_unread``: files beside the masks that are not read are none of the data set's.
    """

    invert: bool | None = None
    binarize: float | None = None
    values_are: Literal["classes", "objects"] | None = None
    resize: bool = False
    colours: tuple[str, ...] = ()
    overlap: Literal["later", "earlier"] | None = None
    ignore_value: int | None = None
    nodata_value: str | None = None
    ignore_unread: bool = False

    @property
    def change_files(self) -> bool:
        """Whether a file of label values reads differently under these rules."""
        by_colour = self.colours not in ((), ("index",))
        objects = self.values_are == "objects"
        return bool(self.invert or self.binarize is not None or objects or self.resize or by_colour)

    def to_dict(self) -> dict[str, Any]:
        """Return the rules that were given as plain JSON values; {} where none were."""
        given = {name: value for name, value in asdict(self).items() if value != _AS_IT_IS[name]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MaskRules:
        """Make the record from what :meth:`to_dict` wrote; TypeError for anything else."""
        values: dict[str, Any] = dict(content)
        if isinstance(values.get("colours"), list):
            values["colours"] = tuple(values["colours"])
        rules = cls(**values)
        require_types(rules)
        return rules


_AS_IT_IS = asdict(MaskRules())


@dataclass(frozen=True)
class Case:
    """One image with its mask. ``mask`` is ``None`` where the image is known to hold nothing.

    A mask is a file of mask values, or a :class:`MaskSource` where it is drawn in another way.
    ``annotations`` are masks that several annotators drew: name and file, ``None`` for one who
    looked and drew nothing. They are compared and united; the mask is what is learnt from.
    ``nodata_value`` is the number that stands in the image where nothing was measured, None where
    none was named.
    """

    id: str
    images: tuple[Path, ...]
    mask: Path | MaskSource | None
    group: str | None = None
    role: Role | None = None
    annotations: tuple[tuple[str, Path | None], ...] = ()
    nodata_value: str | None = None

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """The files that the mask is read from; none where there is no mask."""
        if self.mask is None:
            return ()
        return (self.mask,) if isinstance(self.mask, Path) else self.mask.files


@dataclass(frozen=True)
class Dataset:
    """The cases of a folder and what the folder itself says about them.

    ``labels`` (name to mask value, background excluded) and ``regions`` (name to mask values) are
    what a ``dataset.json`` declared, or ``None`` where nothing was declared and the classes are to
    be read from the masks. ``problems`` are faults of the folder itself (an image without a mask, a
    duplicate id), one sentence each; :func:`rareseg.data.checks.fingerprint.inspect_dataset` adds
    those of the files' contents. ``layout`` is the name of the layout and ``layout_reason`` why it
    was taken, "" where nothing was recognised; ``notes`` say how the folder was read otherwise,
    ``warnings`` what is odd about it. ``named_by_files`` is whether classes are called as files or
    folders are, so that one may be in no mask. ``rules`` are how the files of the masks are read.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    labels: Mapping[str, int] | None = None
    regions: Mapping[str, tuple[int, ...]] | None = None
    ignore_value: int | None = None
    channel_names: tuple[str, ...] | None = None
    problems: tuple[str, ...] = field(default=())
    layout_reason: str = field(default="", compare=False)
    notes: tuple[str, ...] = ()
    named_by_files: bool = False
    warnings: tuple[str, ...] = ()
    rules: MaskRules = MaskRules()
