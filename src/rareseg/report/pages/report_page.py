"""Write the report: one offline HTML file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from rareseg.decision.operating_point import BY_HAND, Infeasible, OperatingPoint
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.statistics.undefined import format_value, is_defined
from rareseg.report.figures.case_pictures import errors_uri, image_uri, reference_uri
from rareseg.report.figures.detection_curves import detection_figures
from rareseg.report.figures.plotly_parts import Figure, MissingFigure
from rareseg.report.figures.threshold_curves import region_figures
from rareseg.report.figures.training_curves import training_figures
from rareseg.report.pages.threshold_explorer import explorer_record, picture_record
from rareseg.report.report_content import CasePicture, ReportContent, Sentence
from rareseg.report.tables.delivered_shares import (
    SUSPECT_COLUMNS,
    mining_view,
    phase_views,
    seen_sentences,
)
from rareseg.report.tables.mask_measure_rows import (
    comparison_rows,
    confusion_view,
    detail_rows,
    unpaired_rows,
)
from rareseg.report.tables.page_tables import PageTable, case_table, recipe_sections
from rareseg.report.tables.strata import StratumTable, stratum_tables
from rareseg.report.wording.default_point_text import evidence_rows
from rareseg.report.wording.numbers import count, percent, score, size, threshold
from rareseg_runner.atomic_files import atomic_write

SCRIPTS = ("cuts.js", "paint.js", "explorer.js", "page.js")
"""In the order in which they build on each other."""


@dataclass(frozen=True)
class PictureView:
    """A picture with its data URIs and the counts of its whole case, where they are known.

    ``live`` is what the script paints other cuts from, found by ``key``; None where it cannot.
    """

    picture: CasePicture
    image: str
    reference: str
    errors: str
    result: CaseResult | None
    key: str
    live: dict[str, Any] | None
    slices: tuple[PictureView, ...] = ()

    @property
    def smallest_object(self) -> str:
        """The voxels of the case's smallest object, "" where there is none."""
        sizes = () if self.result is None else self.result.objects.sizes
        return str(min(sizes)) if sizes else ""

    @property
    def stack(self) -> dict[str, Any] | None:
        """The slices beside each other for the script, and the number of the one that is shown."""
        if not self.slices:
            return None
        return {
            "shown": [one.picture.plane for one in self.slices].index(self.picture.plane),
            "slices": [
                {
                    "plane": one.picture.plane,
                    "image": one.image,
                    "reference": one.reference,
                    "errors": one.errors,
                    "live": one.live,
                    "counts": [one.right, one.wrong, one.missed],
                }
                for one in self.slices
            ],
        }

    @property
    def right(self) -> int:
        """Voxels shown that are rightly predicted."""
        return int((self.picture.reference & self.picture.prediction).sum())

    @property
    def wrong(self) -> int:
        """Voxels shown that are falsely predicted."""
        return int((~self.picture.reference & self.picture.prediction).sum())

    @property
    def missed(self) -> int:
        """Voxels shown that are missed."""
        return int((self.picture.reference & ~self.picture.prediction).sum())


@dataclass(frozen=True)
class ReportRegion:
    """What the page shows of one region."""

    name: str
    key: str
    sentences: tuple[Sentence, ...]
    labels: tuple[str, ...]
    strata: tuple[StratumTable, ...]
    role: str | None
    point: OperatingPoint | None
    evidence: tuple[tuple[str, str], ...]
    no_point: Infeasible | None
    figures: tuple[Figure | MissingFigure, ...]
    details: tuple[tuple[str, ...], ...]
    comparison: tuple[tuple[str, ...], ...]
    results_then: tuple[tuple[str, ...], ...]
    data_then: tuple[tuple[str, ...], ...]
    explorer: dict[str, Any] | None
    pictures: tuple[PictureView, ...]
    cases: PageTable
    n_ignored: int


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page of ``content``, atomically; it loads nothing from anywhere.

    Raises WorkError where the file cannot be written.
    """
    text = render(content)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(content: ReportContent) -> str:
    """Return the page as HTML. Equal contents give equal pages."""
    composition, data = content.composition, content.data
    natural = {facts.name: facts.share for facts in data.classes} if data else {}
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            content=content,
            regions=[_region(content, k, name) for k, name in enumerate(content.regions)],
            run_sentences=[sentence for sentence in content.verdicts if not sentence.region],
            training=training_figures(content.history),
            phases=phase_views(composition, natural) if composition else (),
            seen=seen_sentences(composition, voxel=_voxel(content)) if composition else (),
            confusion=confusion_view(content.confusion),
            mining=mining_view(content.mining, voxel=_voxel(content)),
            suspect_columns=SUSPECT_COLUMNS,
            recipe=recipe_sections(content.recipe, content.reasons) if content.recipe else (),
            voxel=_voxel(content),
            css=asset("page.css"),
            scripts=[asset(name) for name in SCRIPTS],
            plotly=Markup(get_plotlyjs()),  # noqa: S704 - plotly's own file, not a user's text
        )
    )


def _region(content: ReportContent, number: int, name: str) -> ReportRegion:
    main = content.scorecard.region(name)
    parts = content.parts(name)
    results = content.results_of(name)
    result_of = {result.case_id: result for result in results}
    point = content.points.get(name)
    explorer = explorer_record(content, name)
    return ReportRegion(
        name=name,
        key=f"region-{number}",
        sentences=tuple(s for s in content.verdicts if s.region == name),
        labels=tuple(label for label, _ in parts),
        strata=stratum_tables([part for _, part in parts], main),
        role=main.role,
        point=point if isinstance(point, OperatingPoint) else None,
        evidence=tuple(evidence_rows(point)) if isinstance(point, OperatingPoint) else (),
        no_point=point if isinstance(point, Infeasible) else None,
        figures=(
            *region_figures(content.table, name, point),
            *detection_figures(content, name),
        ),
        comparison=comparison_rows(content.comparisons.get(name, ())),
        results_then=unpaired_rows(content.other_cases.get(name, ()), of_data=False),
        data_then=unpaired_rows(content.other_cases.get(name, ()), of_data=True),
        details=detail_rows(
            [case for case in content.details if case.region == name],
            volumes=_voxel(content) == "voxel",
            unit="pixels" if any(result.size_unit == "pixels" for result in results) else "mm",
        ),
        explorer=explorer,
        pictures=tuple(
            _picture(
                picture,
                result_of.get(picture.case_id),
                f"region-{number}-picture-{k}",
                [] if explorer is None else explorer["cases"],
            )
            for k, picture in enumerate(p for p in content.pictures if p.region == name)
        ),
        cases=case_table(results, voxel=_voxel(content)),
        n_ignored=main.n_ignored,
    )


def _picture(
    picture: CasePicture, result: CaseResult | None, key: str, cases: Sequence[str]
) -> PictureView:
    return PictureView(
        picture,
        image_uri(picture),
        reference_uri(picture),
        errors_uri(picture),
        result,
        key,
        picture_record(picture, cases),
        tuple(_picture(one, result, f"{key}-slice-{one.plane}", cases) for one in picture.slices),
    )


def _voxel(content: ReportContent) -> str:
    """Return what one element of the data is called."""
    volumes = any(result.size_unit == "mm³" for result in content.results)
    return "voxel" if volumes else "pixel"


def environment() -> Environment:
    """Return the templates' environment: everything is escaped, nothing may be missing."""
    environment = Environment(
        loader=PackageLoader("rareseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        score=score,
        threshold=threshold,
        size=size,
        prose=_prose,
        value=lambda value: format_value(value, 2),
        value_percent=lambda value: percent(value) if is_defined(value) else str(value),
    )
    environment.globals.update(
        by_hand=BY_HAND, count=count, is_figure=lambda item: isinstance(item, Figure)
    )
    return environment


def asset(name: str) -> Markup:
    """Return a file of our own that stands beside the templates."""
    text = files("rareseg.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own file, not a user's text


def _prose(text: str) -> Markup:
    """Return escaped text whose numbers are not torn from their signs at the end of a line."""
    joined = re.sub(r"(?<=\d) (?=%)", "&#8239;", str(escape(text)))
    return Markup(re.sub(r"(?<=\d)–(?=\d)", "&#8288;–&#8288;", joined))  # noqa: S704 - escaped
