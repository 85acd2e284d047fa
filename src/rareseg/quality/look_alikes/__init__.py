"""Cases that show almost the same, and the groups that keep them on one side of a split."""

from rareseg.quality.look_alikes.pairs import LookAlike, find_look_alikes, propose_groups

__all__ = ["LookAlike", "find_look_alikes", "propose_groups"]
