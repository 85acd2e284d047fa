"""Protocol of a score source: scores of cases, wherever they come from.

:class:`~rareseg.run.scores.network_source.NetworkSource` scores cases with a model,
:class:`~rareseg.run.scores.file_source.FileSource` reads the scores that another tool wrote.
`tune`, `certify`, `calibrate` and `evaluate` know this protocol alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.look_alikes import ComparedCase
from rareseg.data.records import Case, Role
from rareseg.decision.decisions import Decisions
from rareseg.errors import UsageError, nearest
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.component_table_io import load_components, save_components
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg.progress import Track
from rareseg.recipe import DecisionSection
from rareseg.report.report_content import ReportContent, Sentence
from rareseg.run.scores.case_scoring import Points, Scored, ScoredCase
from rareseg.run.setup.run_folder import RunFolder
from rareseg_runner.image_records import Classes

Tables = tuple[ScoreTable, ComponentTable]
"""The scores and the components of the same cases."""


@dataclass(frozen=True)
class CertifyCases:
    """The cases that are to stand for a guarantee, before they are scored.

    ``digest`` tells them from others. ``independent`` cases were seen by nothing before and make a
    certificate; else ``why_estimate`` says what they were used for. ``grouping`` says of new data
    in how many groups they are, and by what; "" where there is nothing to say. ``called`` is what
    a statement calls the role. ``alike`` leads from cases that look alike to the group that they
    would be together, empty where none do. ``compared`` is what new images look like.
    ``unlabelled`` are groups that were drawn to be labelled and were not: each is an error.
    """

    cases: tuple[Case, ...]
    role: Role
    digest: str
    independent: bool
    why_estimate: str = ""
    grouping: str = ""
    called: str = ""
    alike: Mapping[str, str] = field(default_factory=dict)
    compared: tuple[ComparedCase, ...] = ()
    unlabelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgedCases:
    """The cases that an evaluation scores, and the data that they belong to.

    ``roles`` are those of all cases of the data, empty where none are known; ``own`` says that the
    data are those that the model was made from. ``seen`` are the roles of cases that count though
    the model has seen their images, ``left_out`` the cases that do not count for that, with what
    they are known as; ``remark`` is a sentence about which cases count, "" for none.
    """

    title: str
    cases: tuple[Case, ...]
    role: Role | None
    fingerprint: Fingerprint
    roles: Mapping[str, Role]
    own: bool = False
    seen: Mapping[str, Role] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Unlabelled:
    """Images without labels: by region the image score of each, in [0, 1], and their groups."""

    scores: Mapping[str, tuple[float, ...]]
    groups: tuple[str | None, ...]


class ScoreSource(Protocol):
    """Where scores come from, and what keeps the decisions about them."""

    @property
    def classes(self) -> Classes:
        """The classes and regions."""
        ...

    @property
    def arithmetic(self) -> dict[str, Any]:
        """What the scores depend on: a certificate is void under another."""
        ...

    @property
    def decision(self) -> DecisionSection:
        """What a point is chosen for where nothing is asked for."""
        ...

    @property
    def remarks(self) -> tuple[Sentence, ...]:
        """Sentences that belong under every verdict about these scores."""
        ...

    @property
    def root(self) -> Path:
        """The folder that keeps what is decided, and the records of it."""
        ...

    def decisions(self) -> Decisions:
        """Return what is decided about the scores so far, of every region."""
        ...

    def keep(self, decisions: Decisions) -> None:
        """Store what is decided, in place of what was."""
        ...

    def regions(self, track: Track) -> tuple[str, ...]:
        """Return the regions that have scores, in the order of the classes."""
        ...

    def tables(self, track: Track) -> Tables:
        """Return the tables of the cases that points are chosen on; found once, then kept."""
        ...

    def kept_tables(self, role: Role) -> Tables | None:
        """Return the tables of a role's cases, None where they were not found yet.

        Role "validation" means the cases that points are chosen on, whichever they are.
        """
        ...

    def certify_cases(self, track: Track) -> CertifyCases:
        """Return the cases that are to stand for a guarantee.

        Raises :class:`DataError` where what made the scores is known to have seen any of them.
        """
        ...

    def certify_tables(self, certify_set: CertifyCases, track: Track) -> Tables:
        """Return the tables of the cases that stand for a guarantee."""
        ...

    def judged_cases(self, track: Track) -> JudgedCases:
        """Return the cases that an evaluation scores."""
        ...

    def score(
        self,
        cases: Sequence[Case],
        *,
        role: Role | None,
        points: Sequence[Points] = (),
        track: Track,
        doing: str,
    ) -> Scored:
        """Return all that is counted in the cases, at each of ``points``.

        Components are counted at the thresholds of the first of ``points`` too.
        """
        ...

    def unlabelled(self, images: Path, track: Track) -> Unlabelled:
        """Return the image scores of a file, a folder or a data set of images.

        Raises :class:`UsageError` where nothing can score new images.
        """
        ...

    def sampled_prior(self, region: str) -> tuple[float | None, str]:
        """Return the region's share of what training was shown, or None, and a note on the scores.

        The share is told where it can be undone; the note ends a sentence about the calibration.
        """
        ...

    def each(
        self, cases: Sequence[Case], *, track: Track, doing: str
    ) -> Iterator[tuple[ScoredCase, Classes]]:
        """Yield the scores of cases one by one, in one part or region by region."""
        ...

    def describe(self, content: ReportContent, judged: JudgedCases) -> ReportContent:
        """Return the content of a report with what is known of how the scores came about."""
        ...

    def keep_evaluation(
        self, content: ReportContent, judged: JudgedCases, scored: Scored, track: Track
    ) -> ReportContent:
        """Store what an evaluation showed, and return the content with what that adds."""
        ...


def read_tables(folder: RunFolder, role: Role) -> Tables | None:
    """Return the kept tables of a role's cases; None where they were not found yet."""
    scores, components = folder.scores(role), folder.components(role)
    if not (scores.is_file() and components.is_file()):
        return None
    return load_table(scores), load_components(components)


def keep_tables(folder: RunFolder, role: Role, scored: Scored) -> Tables:
    """Write the tables of a role's cases, the scores last, and return them."""
    save_components(scored.components, folder.components(role))
    save_table(scored.table, folder.scores(role))
    return scored.table, scored.components


def asked_regions(regions: Collection[str], region: str | None) -> tuple[str, ...]:
    """Return all regions, or the one that is asked for; UsageError where it is none of them."""
    if region is None:
        return tuple(regions)
    if region not in regions:
        raise UsageError(
            f"--region {region!r} is not a region of this model{nearest(region, regions)}; "
            f"allowed are {', '.join(regions)}."
        )
    return (region,)
