import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.errors import WorkError
from rareseg.report.pages.report_page import render, write_report
from rareseg.report.tables.page_tables import case_table
from rareseg.report.wording.default_point_text import evidence_rows

VOID = {"meta", "link", "img", "br", "i", "input"}


class Reader(HTMLParser):
    """Collect tags, attributes, texts and JSON; check that tags close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts, self.scripts = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID - {"i"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] in ("script", "style") else self.texts).append(
            data
        )


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(content):
    return render(content)


@pytest.fixture(scope="module")
def reader(page):
    return read(page)


def test_what_is_known_beside_a_point_stands_on_the_page(content, reader):
    text = "".join(reader.texts).replace("\u2060", "")  # which keeps an interval in one line
    chosen = [
        point
        for region in content.regions
        if isinstance(point := content.points.get(region), OperatingPoint) and point.evidence
    ]
    assert chosen
    for point in chosen:
        for title, told in evidence_rows(point):
            assert title in text
            assert told.replace(" %", "\u202f%") in text.replace(" %", "\u202f%")


def test_it_is_one_file_that_asks_no_host_for_anything(reader):
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            target = attributes.get(name, "")
            assert not target or target.startswith("data:"), (tag, name, target[:80])
        assert tag not in ("iframe", "object", "embed", "base", "form")
    own = reader.scripts[0] + reader.scripts[-1]
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", own)


def test_it_says_what_people_look_for(reader):
    text = " ".join(" ".join(reader.texts).split())
    for wanted in (
        "Positive cases",
        "Negative cases",
        "Objects",
        "at 0.5",
        "at the chosen point",
        "The network learnt from these cases.",
        "Checkpoint, threshold and gate were chosen on these cases.",
        "Operating point",
        "Dice against threshold",
        "Precision and recall",
        "ROC",
        "worst",
        "Loss on training patches",
        "Where the patches were centred",
        "8 steps a case, 600 at least",
        "– undefined:",
        "reference and prediction are empty",
    ):
        assert wanted in text, wanted


def test_every_verdict_stands_there_with_its_reason(content, reader):
    text = "".join(reader.texts).replace("\u202f", " ").replace("\u2060", "")
    for sentence in content.verdicts:
        assert sentence.text in text
        assert sentence.reason in text


def test_pictures_have_texts_for_those_who_do_not_see_them(content, reader):
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 2 * len(content.pictures) > 0
    assert all(image["alt"] for image in images)
    assert any(re.search(r"right, \d+ wrong, \d+ missed", image["alt"]) for image in images)
    plots = [a for _, a in reader.tags if a.get("class") == "plot"]
    assert len(plots) == 7 * len(content.regions) + 2
    assert all(plot["aria-label"] for plot in plots)


def test_figures_are_json_under_the_names_that_the_plots_ask_for(page):
    asked = re.findall(r'data-figure="([^"]+)"', page)
    cuts = [f"{key}-explorer" for key in re.findall(r'data-explorer="([^"]+)"', page)]
    painted = re.findall(r'data-live="([^"]+)"', page)
    records = re.findall(
        r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL
    )
    found = dict(records)
    assert len(asked) == len(set(asked))
    assert len(records) == len(found)
    assert {*asked, *cuts, *painted} == set(found)
    for name in asked:
        assert {"data", "layout"} == set(json.loads(found[name]))


def test_no_two_places_have_one_id(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_every_case_has_its_row_in_every_region(content, page):
    body = page[: page.index("<h2>Training</h2>")]
    assert body.count("<td>plate-") == len(content.results)


def test_names_given_by_users_are_escaped(make_content, one_class):
    evil = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"
    content = make_content(name=evil, title=evil, n_test=8, n_validation=8, classes=one_class)
    label = content.scorecards[0][0]
    content = replace(
        content,
        reasons={"training.steps": evil},
        scorecards=((evil, content.scorecards[0][1]), *content.scorecards[1:]),
    )
    assert label == "at 0.5"
    reader = read(render(content))
    assert not [a for tag, a in reader.tags if tag == "img" and "onerror" in a]
    assert not any(script.strip().startswith("alert") for script in reader.scripts)
    assert evil in "".join(reader.texts)


def test_equal_contents_give_equal_pages(content, page):
    assert render(content) == page


def test_a_region_without_a_point_and_a_report_without_a_run_are_still_pages(content):
    bare = replace(
        content,
        points={"foreground": Infeasible("foreground", "no positive case to choose on")},
        data=None,
        roles={},
        recipe=None,
        composition=None,
        history=type(content.history)(),
        pictures=(),
        verdicts=(),
    )
    text = " ".join("".join(read(render(bare)).texts).split())
    assert "no positive case to choose on" in text
    assert "None was chosen for this region." in text
    assert "Training" not in text


def test_strata_without_a_case_say_so(make_content, one_class):
    content = make_content(n_test=1, n_validation=8, classes=one_class)  # case 0 is negative
    text = " ".join("".join(read(render(content)).texts).split())
    assert "undefined: no positive case" in text
    assert "Not drawn: no positive voxel in any case." in text


def test_a_page_of_160_cases_is_a_few_megabytes(make_content, one_class, tmp_path):
    content = make_content(n_test=160, n_validation=8, classes=one_class, side=64)
    path = tmp_path / "new" / "report.html"
    write_report(path, content)
    assert path.stat().st_size < 7_000_000
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(content, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(WorkError, match=r"report\.html could not be written"):
        write_report(tmp_path / "report.html", content)


def test_undefined_cells_point_to_their_reasons(content):
    table = case_table(content.results_of("foreground"))
    reasons = dict(table.notes)
    cells = [cell for row in table.rows for cell in row.cells if cell.note]
    assert cells
    for cell in cells:
        assert (cell.text, cell.key) == ("–", None)
        assert reasons[cell.note] == cell.reason


def test_presence_and_image_score_have_columns_where_they_are_told(content):
    told = content.results_of("foreground")
    assert case_table(told).columns[-3:] == ("Top score", "Presence", "Image score")
    keys = [(row.cells[-2].key, row.cells[-1].key) for row in case_table(told).rows]
    assert keys == [(result.presence, result.image_score) for result in told]
    untold = [replace(result, presence=None) for result in told]
    assert case_table(untold).columns[-1] == "Top score"
