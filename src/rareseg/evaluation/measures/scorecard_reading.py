"""Read a scorecard from JSON."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rareseg.data.records import Role, object_named, role_named
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.measures.measure import Measure
from rareseg.evaluation.measures.measure_table import SUMMED
from rareseg.evaluation.measures.scorecard import STRATA, RegionScorecard, Scorecard
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.decision.component_size import Size, as_size


def scorecard_from_json(record: Mapping[str, Any]) -> Scorecard:
    """Return the scorecard that `scorecard_to_json` wrote.

    A measure that the version which wrote it did not know is Undefined; names of earlier versions
    are read. Raises ScoreError, which names the field, where one is missing or not of its kind.
    """
    found = _read(Scorecard, _of_today(record), "scorecard")
    assert isinstance(found, Scorecard)
    return found


def _of_today(node: Any) -> Any:
    """Return a record with its keys under their names of today."""
    if isinstance(node, Mapping):
        return {object_named(key): _of_today(part) for key, part in node.items()}
    return [_of_today(part) for part in node] if isinstance(node, list) else node


def _read(kind: Any, node: Any, where: str) -> Any:
    """Return ``node`` as a value of the type ``kind``; ``where`` is its place in the record."""
    if kind is Size:
        return _read_size(node, where)
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_record(kind, node, where)
    if get_origin(kind) is tuple:
        if not isinstance(node, list):
            raise _unlike(node, where)
        (item, _) = get_args(kind)
        return tuple(_read(item, part, f"{where}[{k}]") for k, part in enumerate(node))
    if get_origin(kind) in (Union, types.UnionType):
        return _read_union(get_args(kind), node, where)
    if get_origin(kind) is Literal:
        node = role_named(node) if kind is Role else node
        if node not in get_args(kind):
            raise _unlike(node, where)
        return node
    wanted = (int, float) if kind is float else kind
    if not isinstance(node, wanted) or isinstance(node, bool):
        raise _unlike(node, where)
    return kind(node)


def _read_size(node: Any, where: str) -> Size:
    if not isinstance(node, str | int | float) or isinstance(node, bool):
        raise _unlike(node, where)
    try:
        return as_size(node)
    except UsageError as error:
        raise _unlike(node, where) from error


def _read_record(kind: type, node: Any, where: str) -> Any:
    if not isinstance(node, Mapping):
        raise _unlike(node, where)
    hints = get_type_hints(kind)
    values = {}
    for field in fields(kind):
        if kind is RegionScorecard and field.name == "estimates":
            continue  # which stand in their strata
        if field.name not in node:
            raise ScoreError(f"{where} has no {field.name}; evaluate again.")
        values[field.name] = _read(hints[field.name], node[field.name], f"{where}.{field.name}")
    if kind is RegionScorecard:
        values["estimates"] = {
            measure.name: _read_estimate(measure, node, where) for measure in SUMMED
        }
    return kind(**values)


def _read_estimate(measure: Measure[Any], region: Mapping[str, Any], where: str) -> Estimate:
    """Return a measure's estimate from its stratum of a region, which has been read."""
    stratum, key = STRATA[measure.stratum], measure.scorecard_key
    if key not in region[stratum]:
        unknown = Undefined("not measured by the version that wrote this scorecard")
        return Estimate(unknown, unknown, unknown, 0, 0, 0, "")
    found = _read(Estimate, region[stratum][key], f"{where}.{stratum}.{key}")
    assert isinstance(found, Estimate)
    return found


def _read_union(kinds: tuple[Any, ...], node: Any, where: str) -> Any:
    """Return a value that may be undefined, or None."""
    if node is None and type(None) in kinds:
        return None
    if Undefined in kinds and isinstance(node, Mapping):
        reason = node.get("undefined")
        if not isinstance(reason, str):
            raise _unlike(node, where)
        return Undefined(reason)
    (other,) = (kind for kind in kinds if kind not in (type(None), Undefined))
    return _read(other, node, where)


def _unlike(node: Any, where: str) -> ScoreError:
    return ScoreError(f"{where} is {str(node)[:40]!r}, which is no such value; evaluate again.")
