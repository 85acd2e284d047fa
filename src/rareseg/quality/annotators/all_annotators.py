"""Measure agreement and consensus over all cases of a data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from rareseg.data.case_files import readers_at_once
from rareseg.data.records import Case, Dataset
from rareseg.errors import DataError, ProblemsError
from rareseg.progress import Track, silent
from rareseg.quality.annotators.agreement import AgreementSettings, CaseAgreement, measure_case
from rareseg.quality.annotators.agreement_summary import RegionAgreement, summarize_agreement
from rareseg.quality.annotators.annotations import MEND, Reviews, annotated_classes, read_reviews
from rareseg.quality.annotators.consensus import ConsensusSettings, Performance, unite
from rareseg_runner.formats import mask_suffix, write_mask
from rareseg_runner.image_records import IGNORE, Classes


@dataclass(frozen=True)
class CaseConsensus:
    """What became of one case. ``mask`` names the file of its consensus, if one was made.

    ``voxels[k]`` counts class index k in the consensus; ``ambiguous`` and ``ignored`` as in
    :class:`~rareseg.quality.annotators.consensus.Consensus`. All are 0 where no mask was made.
    """

    case_id: str
    annotators: tuple[str, ...]
    mask: str | None
    voxels: tuple[int, ...] = ()
    ambiguous: int = 0
    ignored: int = 0
    performances: tuple[Performance, ...] = ()


@dataclass(frozen=True)
class AnnotatorResults:
    """What was measured and made: cases, regions, and the consensus where one was asked for.

    ``classes`` are those of the annotators; ``unheld`` names classes that no consensus mask holds.
    """

    classes: Classes
    settings: ConsensusSettings
    cases: tuple[CaseAgreement, ...]
    regions: tuple[RegionAgreement, ...]
    consensus: tuple[CaseConsensus, ...]

    @property
    def kept(self) -> tuple[CaseConsensus, ...]:
        """The cases that a consensus was made of."""
        return tuple(case for case in self.consensus if case.mask is not None)

    @property
    def reviews(self) -> dict[str, int]:
        """How many cases each annotator looked at."""
        return dict(Counter(name for case in self.consensus for name in case.annotators))

    @property
    def few(self) -> tuple[CaseConsensus, ...]:
        """The cases with fewer reviews than were asked for."""
        least = self.settings.minimum_reviews
        return tuple(case for case in self.consensus if len(case.annotators) < least)

    @property
    def undecided(self) -> tuple[CaseConsensus, ...]:
        """The cases in which something was drawn, and none of it is left but what is ambiguous."""
        return tuple(case for case in self.kept if case.ambiguous and not any(case.voxels[1:]))

    @property
    def unheld(self) -> tuple[str, ...]:
        """The classes that some consensus mask might have held, and none does."""
        return tuple(self.classes.names[k] for k in range(1, self.classes.count) if not self._of(k))

    def _of(self, k: int) -> int:
        return sum(case.voxels[k] for case in self.kept)


def measure_agreement(
    dataset: Dataset,
    settings: AgreementSettings | None = None,
    *,
    jobs: int = -1,
    track: Track = silent,
) -> AnnotatorResults:
    """Measure how far the annotators of a data set agree; writes nothing.

    Raises :class:`ProblemsError` for a data set with problems, and with one sentence for each mask
    that cannot be read, does not lie on its image or holds what is no class.
    """
    asked = ConsensusSettings(agreement=settings or AgreementSettings())
    return compare_and_unite(dataset, asked, None, jobs=jobs, track=track)


def compare_and_unite(
    dataset: Dataset,
    settings: ConsensusSettings,
    masks: Path | None,
    *,
    jobs: int = -1,
    track: Track = silent,
) -> AnnotatorResults:
    """Go through all cases once; with a folder ``masks``, write the consensus of each into it.

    Raises as :func:`measure_agreement`; what was written until then stays.
    """
    if dataset.problems:
        raise ProblemsError(dataset.problems)
    classes = annotated_classes(dataset, jobs=jobs, track=track)
    each = partial(_work_on_case, classes=classes, settings=settings, masks=masks)
    at_once = readers_at_once(dataset.cases, jobs)
    results = Parallel(n_jobs=at_once, prefer="threads", return_as="generator")(
        delayed(each)(case) for case in dataset.cases
    )
    problems: list[str] = []
    measured: list[CaseAgreement] = []
    united: list[CaseConsensus] = []
    for result in track(results, "comparing annotators", len(dataset.cases)):
        if isinstance(result, str):
            problems.append(result)
        else:
            measured += result[0]
            united.append(result[1])
    if problems:
        raise ProblemsError(problems, remedy=MEND)
    return AnnotatorResults(
        classes, settings, tuple(measured), summarize_agreement(measured), tuple(united)
    )


def _work_on_case(
    case: Case, *, classes: Classes, settings: ConsensusSettings, masks: Path | None
) -> tuple[tuple[CaseAgreement, ...], CaseConsensus] | str:
    """Measure one case and write its consensus; return both records, or what is wrong with it."""
    names = tuple(name for name, _ in case.annotations)
    if not names:
        return (), CaseConsensus(case.id, (), None, voxels=(0,) * classes.count)
    try:
        reviews = read_reviews(case, classes, margin_mm=settings.agreement.margin_mm)
    except DataError as error:
        return str(error)
    measured = measure_case(reviews, classes, settings.agreement)
    if masks is None or not is_kept(case, settings):
        return measured, CaseConsensus(case.id, names, None, voxels=(0,) * classes.count)
    consensus = unite(reviews, classes, settings)
    counts = np.bincount(consensus.labels.ravel(), minlength=IGNORE + 1)
    table = np.zeros(IGNORE + 1, np.int64)
    table[: classes.count] = classes.values
    table[IGNORE] = ignore_value(classes)
    mask = _mask_name(case, reviews)
    write_mask(masks / mask, table[consensus.labels], reviews.geometry)
    return measured, CaseConsensus(
        case.id,
        names,
        mask=mask,
        voxels=tuple(counts[: classes.count].tolist()),
        ambiguous=consensus.ambiguous,
        ignored=consensus.ignored,
        performances=consensus.performances,
    )


def _mask_name(case: Case, reviews: Reviews) -> str:
    """Return the name of a case's consensus mask: PNG for photographs, else as the image is."""
    flat = reviews.shape[0] == 1 and reviews.geometry.origin is None
    return case.id + (".png" if flat else mask_suffix(case.images[0]))


def ignore_value(classes: Classes) -> int:
    """Return the mask value that is to mean ignore: the declared one, or one that no class has."""
    if classes.ignore_value is not None:
        return classes.ignore_value
    # Between the usual 0 and 255 of photographs it is seen at a glance.
    candidates: tuple[int, ...] = (255, 128, *range(1, max(classes.values) + 2))
    return next(value for value in candidates if value not in classes.values)


def is_kept(case: Case, settings: ConsensusSettings) -> bool:
    """Tell whether enough people looked at a case for its consensus to be used."""
    least = 1 if settings.keep_few else settings.minimum_reviews
    return len(case.annotations) >= least
