"""Cases that show almost the same, and the groups that keep them on one side of a split.

:func:`rareseg.data.checks.fingerprint.inspect_dataset` looks for them once; whoever needs the pairs
reads ``Fingerprint.look_alikes``.
"""

from rareseg.data.look_alikes.groups import (
    propose_groups,
    united_copies,
    united_look_alikes,
)
from rareseg.data.look_alikes.look_alike_file import read_compared, write_compared
from rareseg.data.look_alikes.pair import IDENTICAL, LookAlike, across_groups
from rareseg.data.look_alikes.pairs import ComparedCase, find_look_alikes
from rareseg.data.look_alikes.registration import Placement
from rareseg.data.look_alikes.thumbnail_file import ThumbnailFile
from rareseg.data.look_alikes.thumbnails import Thumbnail, make_thumbnail

__all__ = [
    "IDENTICAL",
    "ComparedCase",
    "LookAlike",
    "Placement",
    "Thumbnail",
    "ThumbnailFile",
    "across_groups",
    "find_look_alikes",
    "make_thumbnail",
    "propose_groups",
    "read_compared",
    "united_copies",
    "united_look_alikes",
    "write_compared",
]
