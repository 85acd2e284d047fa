"""Every measure of the table, worked out by hand, stands under its heading wherever it is shown.

Seven volumes of one row of 24 voxels of 10 × 2 × 2 mm; ``#`` is on. What is expected is written
down as fractions, from the definitions, and nothing of the library computes it. A measure that the
table has and :data:`HAND` has not fails here.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rareseg.decision.operating_point import OperatingPoint
from rareseg.evaluation.comparisons.comparison_table import comparison_record, tabulate_runs
from rareseg.evaluation.comparisons.paired_test import (
    Headline,
    compare_headlines,
    comparison_to_json,
    headline,
    read_headlines,
)
from rareseg.evaluation.measures.case_result import measure_case, write_cases_csv
from rareseg.evaluation.measures.mask_measures import detail_case, write_details_csv
from rareseg.evaluation.measures.measure import Measure
from rareseg.evaluation.measures.measure_table import CASE_MEASURES, DETAIL_MEASURES, MEASURES
from rareseg.evaluation.measures.scorecard import make_scorecard, scorecard_to_json
from rareseg.evaluation.measures.scorecard_reading import scorecard_from_json
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.report.pages.comparison_page import (
    ComparisonContent,
    comparison_lines,
    write_comparison_page,
)
from rareseg.report.pages.report_page import write_report
from rareseg.report.report_content import ReportContent
from rareseg.report.wording.terminal_summary import short_scorecard
from rareseg_runner.image_records import Geometry

DRAWN = {
    # case:    (group, reference, prediction)
    "part": ("a", "..####..........##......", "....###................."),
    "extra": ("b", "....####................", "....###...........##...."),
    "missed": ("c", ".##.........###.........", "........................"),
    "alarm": ("d", "........................", "##......###............."),
    "quiet1": ("d", "........................", "........................"),
    "quiet2": ("e", "........................", "........................"),
    "quiet3": ("e", "........................", "........................"),
}
GEOMETRY = Geometry(spacing=(10.0, 2.0, 2.0), dimension=3)  # 40 mm³ a voxel
TOLERANCE_MM = 2.0
U = "undefined"  # asked, without an answer: a reason stands in the last column
N = ""  # not asked


@dataclass(frozen=True)
class Hand:
    """What is expected of a measure: in every case, over all of them, and where.

    ``over`` is the number of its stratum, ``mean`` that over the cases which have a value, where a
    comparison shows another one. ``scorecard`` is the path in scorecard.json; the others are the
    headings under which it stands, "" where it does not.
    """

    cases: tuple[float | str, ...] | None
    over: float | None
    scorecard: str = ""
    stratum: str = ""
    page: str = ""
    case_table: str = ""
    terminal: str = ""
    comparison: str = ""
    contest: str = ""
    mean: float | None = None
    perfect: float = 1.0


HAND = {
    "dice": Hand(
        (4 / 9, 6 / 9, 0, 0, U, U, U),
        10 / 27,
        scorecard="positives.dice",
        stratum="Positive cases",
        page="Dice",
        case_table="Dice",
        terminal="Dice, positive cases",
        comparison="dice",
        contest="Dice, positive cases",
    ),
    "iou": Hand(
        (2 / 7, 3 / 6, 0, 0, U, U, U),
        11 / 42,
        scorecard="positives.iou",
        stratum="Positive cases",
        page="IoU",
        case_table="IoU",
    ),
    "precision": Hand(
        (2 / 3, 3 / 5, U, 0, U, U, U),
        19 / 30,
        scorecard="positives.precision",
        stratum="Positive cases",
        page="Precision",
        case_table="Precision",
        comparison="precision",
    ),
    "recall": Hand(
        (2 / 6, 3 / 4, 0, U, U, U, U),
        13 / 36,
        scorecard="positives.recall",
        stratum="Positive cases",
        page="Recall",
        case_table="Recall",
        comparison="recall",
    ),
    "specificity": Hand((17 / 18, 18 / 20, 1, 19 / 24, 1, 1, 1), None),
    # Over all cases: that of all voxels together.
    "accuracy": Hand(
        (19 / 24, 21 / 24, 19 / 24, 19 / 24, 1, 1, 1), 150 / 168, scorecard="accuracy"
    ),
    "false_negative_rate": Hand(
        (4 / 6, 1 / 4, 1, U, U, U, U), 23 / 36, scorecard="positives.false_negative_rate"
    ),
    "found": Hand(
        (1, 1, 0, N, N, N, N),
        2 / 3,
        scorecard="positives.found",
        stratum="Positive cases",
        page="Found",
        terminal="Found, positive cases",
        comparison="found",
    ),
    "false_alarm": Hand(
        (N, N, N, 1, 0, 0, 0),
        1 / 4,
        scorecard="negatives.false_alarm_rate",
        stratum="Negative cases",
        page="False alarms",
        terminal="False alarms, negative cases",
        comparison="false alarm",
        contest="False alarms, negative cases",
        perfect=0.0,
    ),
    "groups_alarmed": Hand(
        None,
        1 / 2,
        scorecard="negatives.groups_with_alarm",
        stratum="Negative cases",
        page="Groups alarmed",
    ),
    "false_positive_size": Hand(
        (40, 80, 0, 200, 0, 0, 0),
        200 / 4,
        scorecard="negatives.false_positive_size",
        stratum="Negative cases",
        page="Falsely predicted",
    ),
    "object_recall": Hand(
        (1 / 2, 1, 0, N, N, N, N),
        2 / 5,
        scorecard="objects.recall",
        stratum="Lesions",  # as sentences about volumes say
        page="Objects found",
        comparison="object recall",
        contest="Objects found, mean over cases",
        mean=1 / 2,
    ),
    "false_positive_components": Hand(
        (0, 1, 0, 2, 0, 0, 0),
        3 / 7,
        scorecard="objects.false_positives_per_case",
        stratum="Lesions",  # as sentences about volumes say
        page="False components",
        case_table="False components",
        comparison="false positive components",
        contest="False components, mean over cases",
        perfect=0.0,
    ),
    # Distances in voxels of 2 mm. "part": from the prediction 0 0 1, to it 0 0 1 2 10 11;
    # "extra": 0 0 0 11 12, and 0 0 0 1.
    "hausdorff_95_mm": Hand(
        (20 + 0.75 * 2, 22 + 0.8 * 2, U, U, U, U, U),
        22.55,
        page="95 % Hausdorff distance (mm)",
    ),
    "mean_surface_distance_mm": Hand(
        (50 / 9, 48 / 9, U, U, U, U, U), 49 / 9, page="Mean surface distance (mm)"
    ),
    "surface_dice": Hand((6 / 9, 7 / 9, 0, 0, U, U, U), 13 / 36, page="Surface dice within 2 mm"),
    # Objects of two voxels or more count; none meet after three dilations.
    "brats_lesionwise_dice": Hand(
        ((4 / 7 + 0) / 2, (6 / 7) / (1 + 1), 0, 0, U, U, U),
        5 / 28,
        page="Lesion-wise dice, as BraTS 2023",
    ),
    "autopet_false_positive_ml": Hand(
        (0, 0.08, 0, 0.2, 0, 0, 0), 0.04, page="False-positive volume, as autoPET (ml)"
    ),
    "autopet_false_negative_ml": Hand(
        (0.08, 0, 0.2, U, U, U, U), 7 / 75, page="False-negative volume, as autoPET (ml)"
    ),
}

every = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
of_cases = pytest.mark.parametrize("measure", CASE_MEASURES, ids=lambda measure: measure.name)


def drawn(row: str) -> np.ndarray:
    return np.array([[[mark == "#" for mark in row]]])


def measured(*, perfect: bool = False):
    """The results of the drawn cases, or of predictions that are their references."""
    return tuple(
        measure_case(
            drawn(reference if perfect else prediction),
            drawn(reference),
            case_id=case,
            point=OperatingPoint("row", 0.5),
            top_score=0.9,
            geometry=GEOMETRY,
            role="test",
            group=group,
        )
        for case, (group, reference, prediction) in DRAWN.items()
    )


@pytest.fixture(scope="module")
def results():
    return measured()


@pytest.fixture(scope="module")
def details():
    return tuple(
        detail_case(
            drawn(prediction),
            drawn(reference),
            case_id=case,
            region="row",
            geometry=GEOMETRY,
            role="test",
            group=group,
            tolerance_mm=TOLERANCE_MM,
        )
        for case, (group, reference, prediction) in DRAWN.items()
    )


@pytest.fixture(scope="module")
def content(results, details):
    before = [headline(result) for result in measured(perfect=True)]
    now = [headline(result) for result in results]
    return ReportContent(
        title="by hand",
        scorecards=(("drawn", make_scorecard(results)),),
        main_label="drawn",
        points={},
        table=ScoreTable(),
        results=results,
        details=details,
        against="perfect",
        comparisons={"row": compare_headlines(before, now, region="row")},
    )


@pytest.fixture(scope="module")
def columns():
    """Two ways of training, one seed: predictions that are the references, and the drawn ones."""

    def lines(*, perfect):
        plain = []
        for result in measured(perfect=perfect):
            line = headline(result)
            values = {name: value for name, value in line.values.items() if is_defined(value)}
            plain.append(Headline(line.case_id, line.region, line.group, values))
        return {"0.5": [plain]}

    return tabulate_runs({"perfect": lines(perfect=True), "drawn": lines(perfect=False)})


class Tables(HTMLParser):
    """The tables of a page: (class, rows of cells), without what is printed small in a cell."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, list[list[str]]]] = []
        self.small = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.found.append((dict(attributes).get("class", ""), []))
        elif tag == "tr":
            self.found[-1][1].append([])
        elif tag in ("td", "th"):
            self.found[-1][1][-1].append("")
        elif tag in ("small", "sup"):
            self.small += 1

    def handle_endtag(self, tag):
        self.small -= tag in ("small", "sup")

    def handle_data(self, data):
        if self.found and self.found[-1][1] and self.found[-1][1][-1] and not self.small:
            self.found[-1][1][-1][-1] += data


SEEN_IN_THE_BROWSER = """tables => tables.map(table => [table.className, [...table.rows].map(
  row => [...row.cells].map(cell => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("small, sup").forEach(one => one.remove());
    return copy.textContent;
  }))])"""


@pytest.fixture(scope="module", params=["file", "browser"])
def look(request, tmp_path_factory):
    """Return the tables of a page, as they stand in the file or as a browser shows them."""

    def tables(write, content):
        path = tmp_path_factory.mktemp("page") / "page.html"
        write(path, content)
        if request.param == "file":
            return Tables(path.read_text(encoding="utf-8")).found
        page = request.getfixturevalue("chromium").new_page()
        page.goto(path.as_uri())
        found = page.eval_on_selector_all("table", SEEN_IN_THE_BROWSER)
        page.close()
        return found

    return tables


@pytest.fixture(scope="module")
def report(look, content):
    return look(write_report, content)


@pytest.fixture(scope="module")
def contest_page(look, columns):
    return look(
        write_comparison_page,
        ComparisonContent(
            "by hand", columns, (), {"perfect": (), "drawn": ()}, {"perfect": 1}, 1, 1, 0.0
        ),
    )


def table(tables, kind, corner=None):
    """The rows of the one table of a class, and with a first cell."""
    (found,) = (
        [[" ".join(cell.split()) for cell in row] for row in rows]
        for name, rows in tables
        if name == kind and (corner is None or corner in rows[0][0])
    )
    return found


def assert_reads(text: str, value: float) -> None:
    """The text is the value, rounded to the digits that it has."""
    number = re.match(r"[\d,.]+", text.strip())
    assert number, f"{text!r} is no number"
    shown = float(number[0].replace(",", ""))
    scale = 100.0 if text[number.end() :].lstrip().startswith("%") else 1.0
    digits = len(number[0].partition(".")[2])
    assert abs(shown - scale * value) <= 0.5001 * 10.0**-digits, (text, value)


def columns_of(lines: list[str]) -> list[dict[str, str]]:
    """Read a table of the terminal, whose columns begin where its headings do."""
    head = lines[0]
    starts = [match.start() for match in re.finditer(r"(?<=  )\S", head)]
    ends = [*starts[1:], None]
    return [
        {head[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)}
        for line in lines[1:]
    ]


def test_each_measure_is_there_once_and_nothing_is_expected_in_vain():
    assert sorted(HAND) == sorted(measure.name for measure in MEASURES)
    headings = [measure.heading for measure in CASE_MEASURES if measure.places]
    assert len(headings) == len(set(headings))
    for measure in CASE_MEASURES:
        assert measure.margin is not None or "summary" not in measure.places


@every
def test_in_the_files_of_cases(measure, results, details, tmp_path):
    hand = HAND[measure.name]
    write_cases_csv(tmp_path / "cases.csv", results)
    write_details_csv(tmp_path / "details.csv", details)
    name = "cases.csv" if measure in CASE_MEASURES else "details.csv"
    with (tmp_path / name).open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    if hand.cases is None:
        assert measure.name not in lines[0]
        return
    assert [line["case"] for line in lines] == list(DRAWN)
    for line, expected in zip(lines, hand.cases, strict=True):
        cell = line[measure.name]
        assert (f"{measure.name}: " in line["undefined"]) == (expected == U)
        if expected in (U, N):
            assert cell == ""
        else:
            assert float(cell) == pytest.approx(expected, abs=1e-12)


@every
def test_in_the_scorecard(measure, results, details):
    hand = HAND[measure.name]
    card = make_scorecard(results)
    node = json.loads(json.dumps(scorecard_to_json(card)))["regions"][0]
    if measure in DETAIL_MEASURES:
        groups = [case.group for case in details]
        assert measure.estimate(details, groups).value == pytest.approx(hand.over)
    elif hand.scorecard:
        for key in hand.scorecard.split("."):
            node = node[key]
        value = node["value"] if isinstance(node, dict) else node
        assert value == pytest.approx(hand.over)
        if isinstance(node, dict):
            assert card.regions[0][measure.name].value == value
    else:
        assert measure.name not in json.dumps(node)


def test_a_scorecard_that_knew_fewer_measures_is_read(results):
    record = scorecard_to_json(make_scorecard(results))
    del record["regions"][0]["negatives"]["false_positive_size"]
    part = scorecard_from_json(record).regions[0]
    unknown = Undefined("not measured by the version that wrote this scorecard")
    assert part["false_positive_size"].value == unknown
    assert part["dice"] == make_scorecard(results).regions[0]["dice"]


@every
def test_on_the_page(measure, report):
    hand = HAND[measure.name]
    if measure in DETAIL_MEASURES:
        row = {cells[0]: cells[1] for cells in table(report, "shares", "At 0.5")}
        assert_reads(row[hand.page], hand.over)
        return
    within, shown = "", {}
    for cells in table(report, "strata")[1:]:
        if len(cells) == 1:
            within = cells[0]
        else:
            shown[within, cells[0]] = cells[1]
    if hand.page:
        assert_reads(shown[hand.stratum, hand.page], hand.over)
    else:
        assert measure.title not in {title for _, title in shown}


@of_cases
def test_in_the_table_of_cases(measure, report):
    hand = HAND[measure.name]
    head, *rows = table(report, "cases")
    assert all(len(row) == len(head) for row in rows)
    if not hand.case_table:
        assert "case table" not in measure.places
        return
    place = head.index(hand.case_table)
    for row, expected in zip(rows, hand.cases, strict=True):
        if expected in (U, N):
            assert row[place] == "–"
        else:
            assert_reads(row[place], expected)


@of_cases
def test_in_the_terminal(measure, content):
    hand = HAND[measure.name]
    (line,) = columns_of(short_scorecard(content)[1:3])
    if hand.terminal:
        assert_reads(line[hand.terminal], hand.over)
    else:
        assert not any(heading.startswith(measure.heading) for heading in line)


@of_cases
def test_in_a_comparison(measure, content, report):
    hand = HAND[measure.name]
    found = {line.measure: line for line in content.comparisons["row"]}
    if not hand.comparison:
        assert measure.words not in found
        return
    line = comparison_to_json(found[hand.comparison])
    now = hand.over if hand.mean is None else hand.mean
    assert line["first"] == pytest.approx(hand.perfect)
    assert line["second"] == pytest.approx(now)
    assert line["difference"] == pytest.approx(now - hand.perfect)
    rows = {row[0]: row[1:3] for row in table(report, "shares", "On the same cases")}
    assert_reads(rows[measure.heading][0], hand.perfect)
    assert_reads(rows[measure.heading][1], now)


@of_cases
def test_in_the_comparison_of_ways_of_training(measure, columns, contest_page):
    hand = HAND[measure.name]
    record = {(line["measure"], line["row"]): line for line in comparison_record(columns)}
    head, *rows = table(contest_page, "contest")
    if not hand.contest:
        assert (measure.words, "drawn") not in record
        assert measure.heading not in head
        return
    now = hand.over if hand.mean is None else hand.mean
    assert record[hand.comparison, "drawn"]["value"] == pytest.approx(now)
    assert record[hand.comparison, "perfect"]["value"] == pytest.approx(hand.perfect)
    assert record[hand.comparison, "perfect"]["best"]
    told = {row[0]: row[head.index(hand.contest)] for row in rows}
    printed = columns_of(comparison_lines(columns)[1:4])
    for way, value in (("perfect", hand.perfect), ("drawn", now)):
        assert_reads(told[way], value)
    for line, value in zip(printed, (hand.perfect, now), strict=True):
        assert_reads(line[hand.contest].replace("*", ""), value)


@every
def test_in_the_documentation(measure):
    pytest.importorskip("sphinx")
    path = Path(__file__).parents[2] / "docs" / "conf.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("conf", path))
    module.__spec__.loader.exec_module(module)
    (line,) = (line for line in module.measure_lines() if line.startswith(f"| `{measure.name}` |"))
    hand = HAND[measure.name]
    assert line.split(" | ")[1] in (hand.page or measure.title)
    assert "```{measures}```" in path.with_name("definitions.md").read_text(
        encoding="utf-8"
    ).replace("\n", "")


def test_what_is_compared_comes_back_from_the_file_of_cases(results, tmp_path):
    write_cases_csv(tmp_path / "cases.csv", results)
    assert read_headlines(tmp_path / "cases.csv") == tuple(map(headline, results))


def test_a_file_of_cases_without_a_later_column_is_read(results, tmp_path):
    path = tmp_path / "cases.csv"
    write_cases_csv(path, results)
    drop_column(path, "object_recall")
    assert read_headlines(path) == tuple(map(headline, results))
    drop_column(path, "recall")
    read = {line.case_id: line.values for line in read_headlines(path)}
    assert isinstance(read["part"]["recall"], Undefined)
    now = [headline(result) for result in results]
    (line,) = (
        line
        for line in compare_headlines(read_headlines(path), now, region="row")
        if line.measure == "recall"
    )
    assert line.difference.value == Undefined("recall is defined in both runs for no case")


def drop_column(path: Path, name: str) -> None:
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        del line[name]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_one_more_measure_moves_no_interval_of_another(monkeypatch):
    """Also beyond 14 groups, where the signs of the test are drawn."""
    rng = np.random.default_rng(0)

    def run(shift):
        return [
            Headline(f"c{k}", "row", None, {"recall": float(v), "dice": float(v) ** 2})
            for k, v in enumerate(np.clip(rng.normal(0.5 + shift, 0.2, 30), 0, 1))
        ]

    before, after = run(0.0), run(0.1)
    alone = {line.measure: line for line in compare_headlines(before, after, region="row")}
    other: Measure = replace(
        CASE_MEASURES[0], name="first", title="First", compute=lambda case: 0.0
    )
    monkeypatch.setattr(
        "rareseg.evaluation.measures.measure_table.CASE_MEASURES", (other, *CASE_MEASURES)
    )
    together = {line.measure: line for line in compare_headlines(before, after, region="row")}
    assert set(together) == {"first", *alone}
    for name, line in alone.items():
        assert together[name] == line
    assert alone["recall"].p_value != alone["dice"].p_value
