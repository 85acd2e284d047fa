"""Record of where initial weights came from, and their licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Attribution:
    """Weights that a model was made from, and the terms under which they may be handed on.

    ``source`` is what they are and the package that they came with, ``sha256`` the digest of their
    file, ``licence`` an SPDX identifier, ``notice`` the licence file that the package ships.
    """

    source: str
    sha256: str
    licence: str
    notice: str = ""


@dataclass(frozen=True)
class WeightsOrigin:
    """What was taken over from earlier weights, tensor by tensor, and what was not.

    ``taken`` are the network's names of what fitted, ``unlike`` those that both have in other
    shapes, ``absent`` those that only the network has, ``unused`` those that only the source has,
    by its names. ``sha256`` is the digest of the file, ``licence`` what its weights come under,
    where that is known, and ``notice`` the licence file that came with them. ``inherited`` is what
    the source was itself made from.
    """

    source: str
    sha256: str
    taken: tuple[str, ...] = ()
    unlike: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    licence: str | None = None
    notice: str | None = None
    inherited: tuple[Attribution, ...] = ()

    @property
    def n_tensors(self) -> int:
        """How many tensors the network has."""
        return len(self.taken) + len(self.unlike) + len(self.absent)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> WeightsOrigin:
        """Return what :meth:`to_dict` wrote; TypeError or KeyError for anything else."""
        inherited = tuple(Attribution(**part) for part in record.get("inherited", ()))
        lists = {name: tuple(record.get(name, ())) for name in ("taken", "absent", "unused")}
        return cls(**{**record, **lists, "inherited": inherited})


def attributions_of(*origins: WeightsOrigin | None) -> tuple[Attribution, ...]:
    """Return what is owed for weights that began so, each once; none where no licence is known.

    That is what the sources were made from, and the sources themselves.
    """
    found: dict[Attribution, None] = {}
    for origin in origins:
        if origin is None:
            continue
        found |= dict.fromkeys(origin.inherited)
        if origin.licence:
            own = Attribution(origin.source, origin.sha256, origin.licence, origin.notice or "")
            found[own] = None
    return tuple(found)
