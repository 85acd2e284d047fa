"""Where a network began, and what the first of two stages left to the second, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rareseg.prediction.cascade import Cascade
from rareseg.prediction.transfer import listed
from rareseg.report.wording import percent


def beginning_sentences(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was taken over from earlier weights and what was not.

    ``record`` is that of :meth:`rareseg.prediction.transfer.Transfer.to_dict`; an empty one, of
    weights that began at random, gives nothing.
    """
    if not record:
        return ()
    taken, unlike, absent = record["taken"], record["unlike"], record["absent"]
    total = len(taken) + len(unlike) + len(absent)
    lines = [f"begins with {len(taken)} of its {total} tensors from {record['source']}"]
    if unlike:
        shapes = [f"{name} ({shape})" for name, shape in unlike.items()]
        lines.append(f"of another shape there, so begun anew: {listed(shapes)}")
    if absent:
        lines.append(f"not there, so begun anew: {listed(absent)}")
    if record["unused"]:
        lines.append(f"there, but of no use here: {listed(record['unused'])}")
    return tuple(lines)


def stage_sentences(cascade: Cascade | None) -> tuple[str, ...]:
    """Return what the first stage leaves to the second, which is the ceiling of both."""
    if cascade is None:
        return ()
    return tuple(
        f"Stage one finds {percent(recall)} of the foreground voxels of the {role} cases in "
        f"{percent(cascade.kept[role])} of all; what it leaves out no later step can find."
        for role, recall in cascade.recalls.items()
    )
