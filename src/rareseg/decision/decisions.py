"""Record of everything decided about scores: points, guarantees, calibration; read and written.

``decisions.json`` lies beside what it is about. Every region is in it, always: with its operating
point, or with the reason why it has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rareseg.decision.calibration.calibration import Calibration
from rareseg.decision.guarantees.guarantee import Certificate, Statement, statement_from_dict
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.decision.operating_point import (
    Frontier,
    ImageCosts,
    Infeasible,
    OperatingPoint,
    PointChoice,
    default_point,
)
from rareseg.errors import BundleError, ScoreError
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.bundle_archive import DECISIONS
from rareseg_runner.text_files import read_json

FORMAT = 2
"""Raised whenever decisions of the old kind could be misread; those of format 1 lay elsewhere."""

NEVER_TUNED = "it was never tuned"


@dataclass(frozen=True)
class RegionDecision:
    """What is decided about the scores of one region.

    ``found`` is its operating point or why it has none, ``frontier`` what could be had instead, and
    ``costs``, of a goal that costs images, what flagging every image, or none, would cost.
    ``statements`` are the certificates and estimates made of its points, the newest last; ``spent``
    says which cases (by their digest) were asked to stand for what, since they can do so once.
    ``calibration`` says what the scores mean; points and certificates are about them as they are.
    """

    found: OperatingPoint | Infeasible
    frontier: Frontier = field(default_factory=Frontier)
    costs: ImageCosts | None = None
    statements: tuple[Statement, ...] = ()
    spent: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def point(self) -> OperatingPoint | None:
        """The operating point, None where there is none."""
        return self.found if isinstance(self.found, OperatingPoint) else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **choice_record(PointChoice(self.found, self.frontier, self.costs)),
            "statements": [statement.to_dict() for statement in self.statements],
            "spent": dict(self.spent),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }

    @classmethod
    def from_dict(cls, region: str, record: Mapping[str, Any]) -> RegionDecision:
        """Return what :meth:`to_dict` wrote.

        Raises ScoreError, KeyError, TypeError or ValueError for anything else.
        """
        found, calibration = record["found"], record["calibration"]
        return cls(
            found=Infeasible(region, **_renamed(found))
            if "infeasible" in found
            else OperatingPoint.from_dict(found),
            frontier=Frontier.from_dicts(record["frontier"]),
            costs=None if (costs := record.get("costs")) is None else ImageCosts(**costs),
            statements=tuple(statement_from_dict(own) for own in record["statements"]),
            spent={str(digest): str(asked) for digest, asked in record["spent"].items()},
            calibration=None if calibration is None else Calibration.from_dict(calibration),
        )


@dataclass(frozen=True)
class Decisions:
    """The decision of every region, in the order of the classes. What changes it returns another.

    Immutable: :meth:`choose`, :meth:`guarantee` and :meth:`calibrate` leave other regions as they
    are.
    """

    regions: Mapping[str, RegionDecision]

    @classmethod
    def none(cls, regions: Iterable[str], reason: str = NEVER_TUNED) -> Decisions:
        """Return the decisions of regions about which nothing was decided yet."""
        return cls({name: RegionDecision(Infeasible(name, reason)) for name in regions})

    @property
    def found(self) -> dict[str, OperatingPoint | Infeasible]:
        """The point of every region, or why it has none."""
        return {name: own.found for name, own in self.regions.items()}

    @property
    def points(self) -> dict[str, OperatingPoint]:
        """The points of the regions that have one."""
        return {name: own.point for name, own in self.regions.items() if own.point is not None}

    @property
    def points_in_use(self) -> dict[str, OperatingPoint]:
        """Where every region is cut: at its point, or at 0.5 where it has none."""
        return {name: own.point or default_point(name) for name, own in self.regions.items()}

    @property
    def statements(self) -> dict[str, tuple[Statement, ...]]:
        """What was guaranteed of each region, of whichever point, the newest last."""
        return {name: own.statements for name, own in self.regions.items()}

    @property
    def spent(self) -> dict[str, Mapping[str, str]]:
        """Which cases, by their digest, were asked to stand for what in each region."""
        return {name: own.spent for name, own in self.regions.items()}

    @property
    def calibration(self) -> dict[str, Calibration]:
        """What the scores mean, of the regions that were calibrated."""
        fitted = {name: own.calibration for name, own in self.regions.items()}
        return {name: own for name, own in fitted.items() if own is not None}

    def choose(self, choices: Mapping[str, PointChoice]) -> Decisions:
        """Return the decisions with new points; where none was found, what was in use stays."""
        return self._with(
            {
                name: replace(
                    self.regions[name],
                    found=choice.found,
                    frontier=choice.frontier,
                    costs=choice.costs,
                )
                for name, choice in choices.items()
                if isinstance(choice.found, OperatingPoint) or self.regions[name].point is None
            }
        )

    def guarantee(
        self, kept: Mapping[str, GuaranteedPoint], spent: Mapping[str, tuple[str, str]]
    ) -> Decisions:
        """Return the decisions with points that a guarantee holds for, and cases that are used up.

        ``spent`` leads from a region to (digest of the cases, what they were asked to stand for);
        what cases were first asked for stays, since whatever came after had seen the answer.
        """
        changed = dict(self.regions)
        for name, result in kept.items():
            own = changed[name]
            others = tuple(one for one in own.statements if one != result.statement)
            statements = (*others, result.statement)
            changed[name] = replace(own, found=result.point, statements=statements)
        for name, (digest, asked) in spent.items():
            own = changed[name]
            changed[name] = replace(own, spent={**own.spent, digest: own.spent.get(digest, asked)})
        return Decisions(changed)

    def calibrate(self, fitted: Mapping[str, Calibration]) -> Decisions:
        """Return the decisions with what the scores of some regions mean."""
        return self._with(
            {name: replace(self.regions[name], calibration=own) for name, own in fitted.items()}
        )

    def ended_by(self, kept: Mapping[str, GuaranteedPoint]) -> list[tuple[str, Certificate]]:
        """Return the certificates about points in use that moved points would leave behind."""
        return [
            (name, statement)
            for name, result in kept.items()
            if (point := self.regions[name].point) is not None
            for statement in self.regions[name].statements
            if isinstance(statement, Certificate)
            and statement.holds_for(point)
            and not statement.holds_for(result.point)
        ]

    def save(self, folder: Path) -> None:
        """Write ``decisions.json`` into ``folder``, atomically. Raises WorkError if that fails."""
        record = {
            "format": FORMAT,
            "regions": {name: own.to_dict() for name, own in self.regions.items()},
        }
        with atomic_write(folder / DECISIONS) as temporary:
            text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, regions: Iterable[str]) -> Decisions:
        """Read ``decisions.json``; every one of ``regions`` is in the result.

        Nothing was decided of a region that the file does not name, or where there is no file.
        Raises :class:`BundleError` where it is damaged or names another region.
        """
        path, nothing = folder / DECISIONS, cls.none(regions)
        if not path.is_file():
            return nothing
        try:
            record = read_json(path)
            if record["format"] != FORMAT:
                raise BundleError(
                    f"{path} is of format {record['format']}, this version of rareseg reads format "
                    f"{FORMAT}; use the version that wrote it."
                )
            known = {
                name: RegionDecision.from_dict(name, own) for name, own in record["regions"].items()
            }
        except (OSError, AttributeError, KeyError, TypeError, ValueError, ScoreError) as error:
            raise BundleError(f"{path} is damaged ({error}); call `rareseg tune` again.") from error
        strange = [name for name in known if name not in nothing.regions]
        if strange:
            raise BundleError(
                f"{path} names the region '{strange[0]}', but the model has "
                f"{', '.join(nothing.regions)}; copy the whole folder again."
            )
        return cls({**nothing.regions, **known})

    def _with(self, changed: Mapping[str, RegionDecision]) -> Decisions:
        return Decisions({**self.regions, **changed})


def choice_record(choice: PointChoice) -> dict[str, Any]:
    """Return a choice as plain JSON values: the point or why there is none, and the frontier.

    Of costs by images, what flagging every image, or none, costs as well.
    """
    found = choice.found
    costs = {} if choice.costs is None else {"costs": asdict(choice.costs)}
    return costs | {
        "found": found.to_dict() if isinstance(found, OperatingPoint) else _infeasible(found),
        "frontier": [point.to_dict() for point in choice.frontier.points],
    }


def _infeasible(found: Infeasible) -> dict[str, Any]:
    """Return why there is no point, as plain JSON values."""
    record = asdict(found)
    del record["region"]
    return {"infeasible": record.pop("reason"), **record}


def _renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`_infeasible` wrote by the names of the fields."""
    return {"reason" if name == "infeasible" else name: own for name, own in record.items()}
