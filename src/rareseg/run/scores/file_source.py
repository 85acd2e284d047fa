"""Score source of files that another tool wrote; no run is needed.

What is decided about them lies in a folder with the places of a run's: ``decisions.json``,
``fingerprint.json``, ``split.csv``, ``scores/``, and in ``scores.json`` which files it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rareseg.data.records import Case, Role
from rareseg.data.score_files.image_score_files import NAME as PRESENCES
from rareseg.decision.decisions import Decisions
from rareseg.decision.decisions_format_1 import decisions_of_format_1
from rareseg.errors import DataError, RunError, ScoreError, UsageError
from rareseg.progress import Track
from rareseg.recipe import DecisionSection
from rareseg.report.report_content import ReportContent, Sentence
from rareseg.report.wording.numbers import count
from rareseg.run.scores.about_scores import FORMAT_1_POINTS, NAME, AboutScores
from rareseg.run.scores.case_scoring import Points, Scored, ScoredCase
from rareseg.run.scores.certify_groups import group_certify_cases, leave_out_copies, rows_of
from rareseg.run.scores.file_scores import (
    OpenedScores,
    ScoreFiles,
    open_scores,
    read_case,
    read_scores,
)
from rareseg.run.scores.named_data import without_seen
from rareseg.run.scores.score_source import (
    CertifyCases,
    JudgedCases,
    Tables,
    Unlabelled,
    asked_regions,
    keep_tables,
    read_tables,
)
from rareseg.run.setup.known_cases import image_digests, write_known_cases
from rareseg.run.setup.run_folder import RunFolder, claim
from rareseg.run.setup.seen_images import remember_looks
from rareseg.run.setup.split_files import write_split
from rareseg_runner.bundle_archive import DECISIONS
from rareseg_runner.image_records import Classes
from rareseg_runner.text_files import read_json

PROVENANCE = Sentence(
    "note",
    "The scores were read from files. Points and guarantees hold for what wrote them: the same "
    "model, at the same settings.",
    "rareseg cannot see which model wrote a file, nor which cases that model was trained on.",
)

FINISHED = Sentence(
    "note",
    "The files hold finished masks, which no threshold or gate changes: what is said of scores, "
    "curves and calibration among it, says nothing here.",
    "rareseg cannot see which tool drew a mask, nor which cases it was trained on.",
)

_SELECTED = (
    "the validation cases chose the point (give some cases the role certify, in a manifest's split "
    "column or a split.csv)"
)


@dataclass(frozen=True, eq=False)
class FileSource:
    """Files of scores, as a :class:`~rareseg.run.scores.score_source.ScoreSource`.

    ``folder`` keeps what is decided about them, None where they are judged at 0.5. With
    ``include_seen`` cases are judged too that points were chosen on.
    """

    files: ScoreFiles
    opened: OpenedScores
    folder: RunFolder | None
    include_seen: bool = False
    _kept: dict[str, Tables] = field(default_factory=dict)

    @classmethod
    def to_decide(
        cls,
        files: ScoreFiles,
        out: Path | str,
        *,
        roles: tuple[Role, ...],
        region: str | None = None,
        track: Track,
    ) -> FileSource:
        """Open scores to choose points for them, or to certify these, and claim ``out`` for that.

        ``roles`` are those of the cases whose scores are needed; where no role is declared, every
        case plays each. ``region`` is the one that is asked for, None for all. Raises
        :class:`UsageError` where there is no such region, :class:`OutputError` where ``out`` holds
        anything else, or decisions about other files, :class:`DataError` where no case is of role
        validation, and as :func:`~rareseg.run.scores.file_scores.open_scores` does.
        """
        opened, folder = open_scores(files, roles=roles, track=track), RunFolder(Path(out))
        asked_regions(opened.classes.regions, region)
        if not opened.cases("validation"):
            raise DataError(
                f"{opened.dataset.root} has no case of role validation, and points are chosen on "
                "no other; give some cases that role, or no role to any."
            )
        about = AboutScores(
            classes=opened.classes,
            channels=opened.channels,
            with_presence=opened.presences is not None,
            probabilities=str(Path(files.probabilities).resolve()),
            references={**files.references.to_dict(), "path": str(opened.dataset.root.resolve())},
            digest=opened.digest,
        )
        claim(folder.root, NAME, about.to_dict(), "decisions about other scores or references")
        opened.fingerprint.to_json(folder.fingerprint)
        groups = {case.id: case.group for case in opened.dataset.cases}
        images = image_digests(opened.dataset.cases)
        roles_of = {name: opened.roles.get(name, "validation") for name in groups}
        write_split(folder.split, roles_of, groups, images)
        write_known_cases(folder, opened.dataset.cases)
        remember_looks(folder.look_alikes, opened.dataset.cases, opened.fingerprint.compared)
        return cls(files, opened, folder)

    @classmethod
    def to_judge(
        cls,
        files: ScoreFiles,
        points: Path | str | None,
        *,
        include_seen: bool = False,
        track: Track,
    ) -> FileSource:
        """Open scores to evaluate them at the points of the folder ``points``, or at 0.5.

        References are opened as those were that the points were chosen on, where ``files`` does not
        say otherwise. Raises :class:`RunError` where ``points`` holds no decisions about files,
        :class:`ScoreError` where only the points or only the files come with an
        ``image_scores.csv``, and as :func:`~rareseg.run.scores.file_scores.open_scores` does.
        """
        if points is None:
            return cls(
                files, open_scores(files, roles=("test",), masks_too=True, track=track), None
            )
        folder = RunFolder(Path(points))
        about = AboutScores.read(folder.root)
        files = replace(files, references=files.references.like(about.references))
        known = (about.classes, about.channels)
        opened = open_scores(files, roles=("test",), known=known, track=track)
        if about.with_presence != (opened.presences is not None):
            had, has = ("with", "no such") if about.with_presence else ("without", "such a")
            raise ScoreError(
                f"The gates of {points} were chosen {had} {PRESENCES}, but {files.probabilities} "
                f"holds {has} file, so that they would cut other image scores; write it for both, "
                "or tune again."
            )
        return cls(files, opened, folder, include_seen)

    @property
    def classes(self) -> Classes:
        """The classes and regions of the references."""
        return self.opened.classes

    @property
    def arithmetic(self) -> dict[str, Any]:
        """All that is known of what scored the cases."""
        told = f" with {PRESENCES}" if self.opened.presences is not None else ""
        return {"scores": f"read from files{told}"}

    @property
    def decision(self) -> DecisionSection:
        """The usual one: no recipe says another."""
        return DecisionSection()

    @property
    def remarks(self) -> tuple[Sentence, ...]:
        """That nobody here knows what wrote the files."""
        return (FINISHED,) if self.opened.finished else (PROVENANCE,)

    @property
    def notices(self) -> tuple[str, ...]:
        """What is to be known before the numbers: how files were taken, which were left out."""
        said = []
        if self.opened.finished and not self.files.finished:
            said.append(
                f"{self.files.probabilities} holds label maps: they are scored as finished masks, "
                "as with --masks."
            )
        others = self.opened.files.others
        if others:
            names = ", ".join(path.name for path in others[:2])
            more = ", …" if len(others) > 2 else ""
            said.append(
                f"{count(len(others), 'mask')} of no case in the references ({names}{more}) "
                f"{'is' if len(others) == 1 else 'are'} not scored."
            )
        return tuple(said)

    @property
    def root(self) -> Path:
        """The folder that keeps what is decided about the files."""
        return self._required_folder.root

    def decisions(self) -> Decisions:
        """Return what lies in the folder; nothing is decided where there is none."""
        regions = self.classes.regions
        if self.folder is None:
            return Decisions.none(regions)
        root = self.folder.root
        earlier = root / FORMAT_1_POINTS
        if not (root / DECISIONS).is_file() and earlier.is_file():
            try:
                content = read_json(earlier)
                return decisions_of_format_1(content, regions, root / "decision.json")
            except (AttributeError, KeyError, TypeError, ValueError, ScoreError) as error:
                raise RunError(f"{earlier} is damaged ({error}); tune again.") from error
        return Decisions.load(root, regions)

    def keep(self, decisions: Decisions) -> None:
        """Store what is decided about the files."""
        decisions.save(self.root)

    def tables(self, track: Track) -> Tables:
        """Return the tables of the validation cases, whose files are read once."""
        return self._tables("validation", track)

    def kept_tables(self, role: Role) -> Tables | None:
        """Return the tables of a role's cases, None where they were not read yet."""
        return None if self.folder is None else read_tables(self.folder, role)

    def regions(self, track: Track) -> tuple[str, ...]:
        """Return the regions that the files of the validation cases have scores of."""
        return self.opened.scored_regions(self.tables(track)[0])

    def certify_cases(self, track: Track) -> CertifyCases:
        """Return the cases of role certify, on the caller's word that the tool has not seen them.

        Those of role validation, for an estimate, where there are none.
        """
        own = self.opened.cases("certify") if self.opened.roles else ()
        digest, opened = self.opened.digest, self.opened
        if own:
            found = CertifyCases(own, "certify", digest, True, called="declared certify")
            cases, known = opened.dataset.cases, opened.fingerprint
            found = leave_out_copies(found, opened.roles, cases, known)
            found = group_certify_cases(found, cases, known)
            if not opened.has_images:
                untold = "copies cannot be told, since the references have no images"
                found = replace(found, grouping=f"{found.grouping}; {untold}")
            said = found.grouping.removeprefix("; ")
            return replace(found, grouping=said and f"{opened.dataset.root}: {said}")
        return CertifyCases(self.opened.cases("validation"), "validation", digest, False, _SELECTED)

    def certify_tables(self, certify_set: CertifyCases, track: Track) -> Tables:
        """Return the tables of those cases, whose files are read once."""
        return rows_of(self._tables(certify_set.role, track), certify_set.cases)

    def judged_cases(self, track: Track) -> JudgedCases:
        """Return the test cases where roles are declared, else all; without those used.

        They are of role validation where the points were chosen on all of them, which is
        optimistic. Raises :class:`DataError` where no case is of role test.
        """
        root, name = self.opened.dataset.root, Path(self.files.probabilities).name
        cases = self.opened.cases("test")
        if not cases:
            raise DataError(
                f"{root} has no case of role test; give some that role, or no role to any case, "
                "so that all are scored."
            )
        judged = JudgedCases(
            f"{root.name} by the scores in {name}",
            cases,
            "test" if self.opened.roles else None,
            self.opened.fingerprint,
            self.opened.roles,
        )
        if self.folder is None:
            return judged
        return without_seen(
            self.folder,
            judged,
            include_seen=self.include_seen,
            groups=True,
            if_all="validation",
            track=track,
        )

    def score(
        self,
        cases: Sequence[Case],
        *,
        role: Role | None,
        points: Sequence[Points] = (),
        track: Track,
        doing: str,
    ) -> Scored:
        """Read and count the scores of cases."""
        reading = doing.replace("scoring", "reading scores of")
        return read_scores(self.opened, cases, role=role, points=points, track=track, doing=reading)

    def each(
        self, cases: Sequence[Case], *, track: Track, doing: str
    ) -> Iterator[tuple[ScoredCase, Classes]]:
        """Yield cases with all their classes, or region by region."""
        for case in track(cases, doing, len(cases)):
            yield from read_case(self.opened, case)

    def unlabelled(self, images: Path, track: Track) -> Unlabelled:
        """Raise :class:`UsageError`: the tool is not here to score new images."""
        raise UsageError(
            "--unlabelled needs a run, whose model scores the images; for another tool's scores "
            "state the --prevalence."
        )

    def sampled_prior(self, region: str) -> tuple[float | None, str]:
        """Return None: what the tool was shown is not known."""
        return None, "; what the tool was trained on is not known"

    def describe(self, content: ReportContent, judged: JudgedCases) -> ReportContent:
        """Return the content as it is: nothing is known of a training."""
        return content

    def keep_evaluation(
        self, content: ReportContent, judged: JudgedCases, scored: Scored, track: Track
    ) -> ReportContent:
        """Return the content as it is: files are evaluated as often as anybody likes."""
        return content

    @property
    def _required_folder(self) -> RunFolder:
        assert self.folder is not None, "decided about by to_decide"
        return self.folder

    def _tables(self, role: Role, track: Track) -> Tables:
        if role not in self._kept:
            known = self.kept_tables(role)
            if known is None:
                cases = self.opened.cases(role)
                scored = self.score(cases, role=role, track=track, doing=f"scoring {role} cases")
                known = keep_tables(self._required_folder, role, scored)
            self._kept[role] = known
        return self._kept[role]
