"""Score source of a run's model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rareseg.data.case_files import read_case_image
from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.checks.problems import other_than
from rareseg.data.folder_lock import sole_writer
from rareseg.data.input_images import open_images
from rareseg.data.records import Case, Role
from rareseg.decision.decisions import Decisions
from rareseg.errors import DataError, ProblemsError, ReadError
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.evaluation.tables.component_table import GRID
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import Track
from rareseg.recipe import DecisionSection
from rareseg.report.report_content import ReportContent, Sentence
from rareseg.report.wording.numbers import count
from rareseg.run.outputs.evaluation_files import write_scorecards
from rareseg.run.outputs.model_card_file import write_model_card
from rareseg.run.outputs.training_content import with_training
from rareseg.run.scores.case_scoring import (
    Points,
    Scored,
    ScoredCase,
    grid_of,
    score_all,
    score_each,
)
from rareseg.run.scores.certify_groups import group_certify_cases, leave_out_copies
from rareseg.run.scores.named_data import (
    NamedData,
    is_own,
    new_certify_cases,
    note_certify_images,
    note_shown,
    without_seen,
)
from rareseg.run.scores.sampled_prior import sampled_prior
from rareseg.run.scores.score_source import (
    CertifyCases,
    JudgedCases,
    Tables,
    Unlabelled,
    keep_tables,
    read_tables,
)
from rareseg.run.setup.bundle_images import write_bundle_images
from rareseg.run.setup.own_data import cases_of, own_dataset, require_own_data
from rareseg.run.setup.run_folder import DataOptions, RunFolder, open_run, read_about
from rareseg.run.setup.split_files import read_split
from rareseg_runner.decision.image_score import image_score
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes

TRAIN_SAMPLE = 24
"""How many training cases are scored beside the test cases, to see overfitting."""

NOTE_WAIT_S = 60.0
"""Seconds that an evaluation waits for others, to note in the run what it has shown."""

_UNSEEN = "keep some for split.certify, or name unseen ones with --certify-on"
_OUT_OF_FOLD = (
    "each was scored by the networks that had not seen it, not by the mean of all that is used, "
    f"and chose the point ({_UNSEEN})"
)
_SELECTED = f"the validation cases chose checkpoint and point ({_UNSEEN})"


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """The model of a finished run, as a :class:`~rareseg.run.scores.score_source.ScoreSource`.

    ``named`` are the cases that the user names, None where the run's own are meant.
    """

    folder: RunFolder
    model: Model
    device: torch.device
    named: NamedData | None = None
    include_seen: bool = False

    @classmethod
    def open(
        cls,
        run: Path | str,
        data: DataOptions | Path | str | None = None,
        *,
        device: str | torch.device = "cpu",
        include_seen: bool = False,
        verify: bool = False,
    ) -> NetworkSource:
        """Return the model of the run at ``run``, and the cases that it is to certify or judge.

        With ``include_seen`` cases are judged whose images the model was trained, chosen or
        certified on; without, they are left out. With ``verify`` every file is read, also where its
        size and time are the same as when its digest was computed. Groups and missing masks of
        ``data`` are read as in the run where it does not say otherwise.
        Raises :class:`RunError` for a folder that is no finished run, :class:`BundleError` where
        its model is damaged, and as :func:`~rareseg.data.dataset.open_dataset` does.
        """
        folder = open_run(Path(run), verify=verify)
        model, device = load_model(folder.bundle), torch.device(device)
        if data is None:
            return cls(folder, model, device)
        options = data if isinstance(data, DataOptions) else DataOptions(str(data))
        options = options.like(read_about(folder))
        named = NamedData.open(options, model.classes)
        model = model.ignoring(named.dataset.ignore_value)
        return cls(folder, model, device, named, include_seen)

    @property
    def classes(self) -> Classes:
        """The classes and regions."""
        return self.model.classes

    @property
    def arithmetic(self) -> dict[str, Any]:
        """Weights, precision, windows, mirrors, and the device that computes."""
        return self.model.arithmetic(self.device.type)

    @property
    def decision(self) -> DecisionSection:
        """The recipe's own."""
        return self.model.recipe.decision

    @property
    def remarks(self) -> tuple[Sentence, ...]:
        """Nothing: the run knows how its model came about."""
        return ()

    @cached_property
    def scorer(self) -> ModelScorer:
        """The networks, built once where anything must be scored."""
        return ModelScorer(self.model, device=self.device)

    @property
    def chosen_on(self) -> Role:
        """The role of the cases that points are chosen on."""
        return "out-of-fold" if self.folder.folds.is_file() else "validation"

    @property
    def root(self) -> Path:
        """The run's folder."""
        return self.folder.root

    def decisions(self) -> Decisions:
        """Return what lies beside the model."""
        return load_decisions(self.folder.bundle)

    def keep(self, decisions: Decisions) -> None:
        """Store decisions beside the model, with the images seen by now; write its card anew."""
        decisions.save(self.folder.bundle)
        write_bundle_images(self.folder)
        write_model_card(self.folder, self.model)

    def regions(self, track: Track) -> tuple[str, ...]:
        """Return all regions: a model scores each."""
        return tuple(self.model.classes.regions)

    def kept_tables(self, role: Role) -> Tables | None:
        """Return the tables of a role's cases, None where they were not found yet."""
        return read_tables(self.folder, self.chosen_on if role == "validation" else role)

    def tables(self, track: Track) -> Tables:
        """Return the tables of the validation cases, or those out of fold that training wrote."""
        known, role = self.kept_tables("validation"), self.chosen_on
        if known is not None:
            require_own_data(self.folder, "train" if role == "out-of-fold" else role)
            return known
        if role == "out-of-fold":
            raise DataError(
                f"{self.folder.scores(role)} is missing, and only training can write it; copy the "
                "run again."
            )
        cases = self.cases("validation")
        scored = self.score(cases, role=role, track=track, doing="scoring validation cases")
        return keep_tables(self.folder, role, scored)

    def cases(self, role: Role) -> tuple[Case, ...]:
        """Return the run's own cases that play ``role``."""
        return cases_of(self.folder, role)

    def score(
        self,
        cases: Sequence[Case],
        *,
        role: Role | None,
        points: Sequence[Points] = (),
        track: Track,
        doing: str,
    ) -> Scored:
        """Score cases with the model."""
        return score_all(
            self.scorer,
            cases,
            role=role,
            points=points,
            detailed=True,
            grid=grid_of(points[0]) if points else GRID,
            track=track,
            doing=doing,
        )

    def each(
        self, cases: Sequence[Case], *, track: Track, doing: str
    ) -> Iterator[tuple[ScoredCase, Classes]]:
        """Yield cases with the scores of all classes."""
        for scored in score_each(self.scorer, cases, track=track, doing=doing):
            yield scored, self.scorer.model.classes

    def certify_cases(self, track: Track) -> CertifyCases:
        """Return the cases that the user names; else the run's own of role certify, or validation.

        Raises :class:`DataError` where the model has seen any of the cases that are named.
        """
        if self.named is not None:
            return new_certify_cases(self.folder, self.named, self.model.training.data, track)
        digest = self.model.training.data
        if own := self.cases("certify"):
            return self._own_certify_cases(CertifyCases(own, "certify", digest, True))
        if self.chosen_on == "out-of-fold":
            learned = self.cases("train")
            return CertifyCases(learned, "out-of-fold", digest, False, _OUT_OF_FOLD)
        return CertifyCases(self.cases("validation"), "validation", digest, False, _SELECTED)

    def certify_tables(self, certify_set: CertifyCases, track: Track) -> Tables:
        """Return the tables of those cases: new ones are scored by the model as it stands."""
        if certify_set.role != "certify":
            return self.tables(track)
        if self.named is not None:
            note_certify_images(self.folder, certify_set)
        scored = self.score(
            certify_set.cases, role="certify", track=track, doing="scoring certify cases"
        )
        return keep_tables(self.folder, "certify", scored)

    def judged_cases(self, track: Track) -> JudgedCases:
        """Return the cases that the user names whose images are new to the model.

        Of the run's own data these are its test cases. Raises :class:`DataError` where there is no
        such case or the run's own data changed, :class:`ProblemsError` for data with problems.
        """
        if self.named is None or (self._is_own() and not self.include_seen):
            return self._own_test_cases()
        dataset = self.named.dataset
        fingerprint = inspect_dataset(dataset, track=track)
        # Other data need not hold a positive, nor each class: alarms can be measured on them.
        problems = other_than(fingerprint.problems, {"no positive case", "absent class"})
        if problems:
            raise ProblemsError(problems)
        title = f"{dataset.root.name} by the model of {self.folder.name}"
        judged = JudgedCases(title, dataset.cases, None, fingerprint, {})
        return without_seen(self.folder, judged, include_seen=self.include_seen, track=track)

    def unlabelled(self, images: Path, track: Track) -> Unlabelled:
        """Return the image scores of a file, a folder or a data set of images.

        Raises :class:`DataError`, naming the image, where the model cannot take it.
        """
        named = self.model.nodata_value
        listed = open_images(images, channels=self.model.training.files_per_case)
        cases = tuple(replace(case, nodata_value=named) for case in listed)
        found: dict[str, list[float]] = {region: [] for region in self.classes.regions}
        for case in track(cases, "scoring unlabelled images", len(cases)):
            try:
                said = self.scorer.score(read_case_image(case))
            except ReadError:
                raise
            except DataError as error:
                raise DataError(f"case '{case.id}': {error}") from error
            for region, score in region_scores(said.probabilities, self.classes).items():
                top = float(score.max(initial=0.0))
                found[region].append(image_score(top, said.presence_of(region)))
        scores = {region: tuple(own) for region, own in found.items()}
        return Unlabelled(scores, tuple(case.group for case in cases))

    def sampled_prior(self, region: str) -> tuple[float | None, str]:
        """Return the region's share of the voxels that the sampler delivered, or why not."""
        return sampled_prior(self.model, region)

    def describe(self, content: ReportContent, judged: JudgedCases) -> ReportContent:
        """Return the content with the recipe and the record of the training."""
        return with_training(content, self.folder, self.model)

    def keep_evaluation(
        self, content: ReportContent, judged: JudgedCases, scored: Scored, track: Track
    ) -> ReportContent:
        """Store what the test cases showed; of other data note that they were seen.

        The dice on a sample of training cases is added, which shows overfitting.
        """
        if not judged.own:
            with sole_writer(self.folder.root, wait_s=NOTE_WAIT_S):
                note_shown(self.folder, judged)
            return content
        content = replace(content, train_dice=self._train_dice(judged.fingerprint, track))
        with sole_writer(self.folder.root, wait_s=NOTE_WAIT_S):
            keep_tables(self.folder, "test", scored)
            write_scorecards(self.folder.test_scorecard, content, names=False)
            write_model_card(self.folder, self.model)
        return content

    def _own_certify_cases(self, certify_set: CertifyCases) -> CertifyCases:
        """Return the run's own certify cases in groups of different images, new to the model."""
        known = Fingerprint.from_json(self.folder.fingerprint)
        cases, roles = own_dataset(self.folder).cases, read_split(self.folder.split)
        certify_set = leave_out_copies(certify_set, roles, cases, known)
        certify_set = group_certify_cases(certify_set, cases, known)
        said = certify_set.grouping.removeprefix("; ")
        return replace(certify_set, grouping=said and f"{self.folder.root}: {said}")

    def _is_own(self) -> bool:
        data = self.model.training.data
        return self.named is not None and is_own(self.folder, self.named, data)

    def _own_test_cases(self) -> JudgedCases:
        dataset = None if self.named is None else self.named.dataset
        cases = cases_of(self.folder, "test", dataset)
        if not cases:
            raise DataError(
                f"{self.folder.root} has no test cases (split.test is 0); name other data: "
                "`rareseg evaluate RUN DATA --out DIR`."
            )
        fingerprint = Fingerprint.from_json(self.folder.fingerprint)
        roles, name = read_split(self.folder.split), self.folder.name
        remark = ""
        if dataset is not None and len(cases) < len(dataset.cases):
            remark = (
                f"These are the same data as those of the run: its "
                f"{count(len(cases), 'test case')} alone are scored, and the other "
                f"{len(dataset.cases) - len(cases)} left out, which the model has seen in training."
            )
        return JudgedCases(name, cases, "test", fingerprint, roles, own=True, remark=remark)

    def _train_dice(self, fingerprint: Fingerprint, track: Track) -> dict[str, float]:
        """Return the mean dice at the points in use on a sample of positive training cases."""
        positive = {fact.id for fact in fingerprint.cases if fact.is_positive}
        pool = [case for case in self.cases("train") if case.id in positive]
        sample = pool[:: max(1, len(pool) // TRAIN_SAMPLE)][:TRAIN_SAMPLE]
        points = self.decisions().points_in_use
        scored = score_all(
            self.scorer,
            sample,
            role="train",
            points=(points,),
            track=track,
            doing="scoring a sample of training cases",
        )
        means = {}
        for region in points:
            values = [
                value
                for result in scored.results[0]
                if result.region == region
                and result.stratum == "positive"
                and is_defined(value := result.metric("dice"))
            ]
            if values:
                means[region] = sum(values) / len(values)
        return means
