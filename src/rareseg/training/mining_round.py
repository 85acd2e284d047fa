"""Run one round of hard-example mining between two epochs, and record it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from rareseg.data.store.store import Store
from rareseg.errors import RunError
from rareseg.sampling.mining.hard_examples import Predict
from rareseg.sampling.mining.label_suspects import MinedSuspect, list_suspects
from rareseg.sampling.pools.mined_pools import MinedPools, low_confidence, restore_mined
from rareseg.sampling.sampler import PatchSampler
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json

MakePredict = Callable[[torch.nn.Module], Predict]
"""Makes, from a network, what tells the probabilities of images."""

RECORD = "mining.json"
"""The name of the record in a run's folder ``training/``."""


@dataclass(frozen=True)
class Round:
    """What one round found: when, with which weights (a hash), and how many voxels.

    ``judged`` counts the voxels that were looked at by class, ``found`` those in each mined pool.
    """

    round: int
    step: int
    weights: str
    judged: Mapping[str, int]
    found: Mapping[str, int]
    set_aside: int

    @property
    def hard(self) -> int:
        """The hard voxels of all classes."""
        return sum(self.found[low_confidence(name)] for name in self.judged)


@dataclass(frozen=True)
class MiningRecord:
    """The rounds of a run, and the label suspects as of the last one, the largest first."""

    rounds: tuple[Round, ...] = ()
    suspects: tuple[MinedSuspect, ...] = ()


def mine_round(
    sampler: PatchSampler,
    network: torch.nn.Module,
    make_predict: MakePredict,
    folder: Path,
    *,
    fabric: Fabric,
    report: Callable[[str], None],
) -> None:
    """Mine with ``network``, let ``sampler`` draw from what was found, and note it in ``folder``.

    The first process mines, so that all draw from the same pools. ``network`` is the running
    average: those are the weights that are kept and used, so that what they get wrong is what is
    left to learn, while the weights of a single step make errors that the next steps undo. With
    ``training.average`` 0 the two are the same.
    """
    state: dict[str, Any] | None = None
    if fabric.is_global_zero:
        predict = make_predict(network.eval())
        mined = sampler.mine(predict, weights=hash_weights(network))
        note_round(folder / RECORD, sampler.store, mined)
        report(describe_round(mined))
        state = mined.state()
    state = fabric.broadcast(state)
    if not fabric.is_global_zero:
        assert state is not None
        sampler.use(restore_mined(sampler.store, state))


def hash_weights(network: torch.nn.Module) -> str:
    """Return 16 hexadecimal digits that name a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def describe_round(mined: MinedPools) -> str:
    """Return one line about a round for the user."""
    hard = sum(
        pool.size for name, pool in mined.pools.items() if name.startswith(low_confidence(""))
    )
    aside = (
        f", {mined.set_aside.size:,} set aside as label suspects" if mined.set_aside.size else ""
    )
    return (
        f"step {mined.step}: mining round {mined.round} found {hard:,} of {sum(mined.judged):,} "
        f"voxels hard{aside}"
    )


def note_round(path: Path, store: Store, mined: MinedPools) -> None:
    """Write a round into the record, and the label suspects that there are now.

    Rounds from this one on that a killed run left are dropped.
    """
    names = store.classes.names
    this = Round(
        round=mined.round,
        step=mined.step,
        weights=mined.weights,
        judged=dict(zip(names, mined.judged, strict=True)),
        found={name: pool.size for name, pool in mined.pools.items()},
        set_aside=mined.set_aside.size,
    )
    before = [known for known in read_record(path).rounds if known.round < this.round]
    rounds = [asdict(known) for known in (*before, this)]
    suspects = [asdict(suspect) for suspect in list_suspects(store, mined)]
    # One line for each, to be read by people as well.
    parts = (
        f'"{name}": [\n' + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"
        for name, rows in (("rounds", rounds), ("suspects", suspects))
    )
    with atomic_write(path) as temporary:
        temporary.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def read_record(path: Path) -> MiningRecord:
    """Read what was mined in a run; without a file there are no rounds.

    Raises :class:`RunError` where it is damaged.
    """
    if not path.is_file():
        return MiningRecord()
    try:
        record = read_json(path)
        return MiningRecord(
            rounds=tuple(Round(**known) for known in record["rounds"]),
            suspects=tuple(MinedSuspect.from_dict(known) for known in record["suspects"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read as a record of mining ({error}); delete it to go on without "
            "the earlier rounds."
        ) from error
