"""The page of an audit: one offline file, every name escaped, verdict first."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.checks.problems import Problem
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.quality.audit import (
    KINDS,
    Audit,
    BackgroundCoverage,
    Example,
    Finding,
    Move,
    RegionFacts,
    in_order,
)
from rareseg.quality.audit.leakage import LookAlikePair
from rareseg.quality.audit.placement import MisplacedMasks
from rareseg.report.figures.audit_pictures import Scene, scenes_wanted, take_snapshot
from rareseg.report.pages.audit_page import audit_lines, render_audit, verdict, write_audit
from rareseg_runner.image_records import Classes

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "link", "img"}


class Reader(HTMLParser):
    """Collect tags and texts; check that tags close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def case(name, **other):
    channel = ChannelFacts(2.0, 100.0, 180.0, 100.0, 30.0)
    made = CaseFacts(
        name,
        EVIL,
        None,
        (1, 60, 80),
        (1.0, 1.0, 1.0),
        2,
        1,
        "uint8",
        (4700, 100),
        0,
        (channel,),
        "",
    )
    return replace(made, **other)


def audit(*findings, cases=None, similar_pairs=()):
    cases = (case(f"{EVIL}1"), case("b", voxels=(4800, 0))) if cases is None else cases
    classes = Classes(("background", EVIL), (0, 1), {EVIL: (1,)})
    return Audit(
        fingerprint=Fingerprint(
            cases, classes, (), (Problem("data", f"Beware of {EVIL}."),), (), "0" * 64
        ),
        findings=in_order(findings),
        similar_pairs=similar_pairs,
        groups={},
        regions=(RegionFacts(EVIL, 100, 0.01, 1, (1, 3, 96), 95.0),),
        coverages=(
            BackgroundCoverage("positive images", "empty images", 0.97, 5, 6),
            BackgroundCoverage("empty images", "positive images", Undefined("too few"), 1, 1),
        ),
        outlines=MisplacedMasks({}, silent="too few cases have an outline"),
        skipped={"shifted-masks": f"no outline {EVIL}"},
    )


def shot(finding="shifted-masks", example=None, shape=(1, 60, 80)):
    rng = np.random.default_rng(0)
    drawn = np.zeros(shape, bool)
    drawn[:, 20:30, 40:60] = True
    image = rng.integers(0, 255, (1, *shape)).astype(np.uint8)
    example = example or Example(f"{EVIL}1", EVIL, move=Move((0, 5, 0)))
    return take_snapshot(finding, example, example.case_id, EVIL, image, drawn)


@pytest.fixture(scope="module")
def everything():
    """A page with every finding, pictures, a pair and evil names everywhere."""
    example = Example(
        f"{EVIL}1", f"note {EVIL}", (((0, 1), (3, 5), (6, 9)),), EVIL, Move((0, 3, 0))
    )
    findings = [
        Finding(name, f"Text of {name} {EVIL}, 12 %.", (example,) * 300, (f"detail {EVIL}",) * 60)
        for name in KINDS
    ]
    similar = LookAlikePair(
        f"{EVIL}1",
        "b",
        0.98,
        EVIL,
        False,
        True,
        (EVIL, None),
        ("train", "test"),
        True,
        "differ",
        EVIL,
    )
    scenes = {name: [Scene(EVIL, (shot(), shot()))] for name in scenes_wanted(findings)}
    return render_audit(
        audit(*findings, similar_pairs=(similar,)), title=f"Audit of {EVIL}", scenes=scenes
    )


def test_it_is_one_file_that_asks_no_host_for_anything(everything):
    reader = read(everything)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            target = attributes.get(name) or ""
            assert not target or target.startswith(("data:", "#")), (tag, name, target[:80])
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
    assert not re.search(r"url\((?!data:)", everything)
    assert "@import" not in everything


def test_every_name_is_escaped(everything):
    assert EVIL not in everything
    assert sum(EVIL in text for text in read(everything).texts) > 30


def test_links_lead_to_findings_and_ids_are_unique(everything):
    reader = read(everything)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert sorted(ids) == sorted(KINDS)
    links = [a["href"][1:] for tag, a in reader.tags if tag == "a"]
    assert links == ids


def test_the_verdict_comes_first_and_the_worst_before_the_rest(everything):
    text = " ".join(read(everything).texts)
    places = [
        text.index(words)
        for words in (
            "be fixed before training",
            "Must be fixed",
            "Worth a look",
            "Notes",
            "What the files hold",
        )
    ]
    assert places == sorted(places)
    assert "5 things must be fixed before training" in text


@pytest.mark.parametrize(
    ("findings", "level", "headline"),
    [
        ((), "good", "Nothing stands in the way of training"),
        ((Finding("few-cases", ""),), "good", "Nothing stands in the way of training"),
        ((Finding("small-holes", ""),), "warning", "Nothing must be fixed before training"),
        ((Finding("data-problems", ""),), "bad", "1 thing must be fixed before training"),
        (
            (Finding("leak-across-splits", "", allowed=True),),
            "good",
            "Nothing stands in the way of training",
        ),
    ],
)
def test_the_verdict(findings, level, headline):
    assert verdict(audit(*findings))[:2] == (level, headline)


def test_lines_for_the_terminal_say_the_same():
    lines = audit_lines(audit(Finding("small-holes", "A hole."), Finding("few-cases", "Few.")))
    assert lines == [
        "! small-holes: A hole.",
        "- few-cases: Few.",
        "Nothing must be fixed before training; 1 finding worth a look.",
    ]


def test_without_a_readable_case_the_page_shows_what_is_wrong():
    problems = ("A is broken.", "B is broken.")
    broken = audit(Finding("data-problems", "A is broken.", details=problems), cases=())
    text = " ".join(read(render_audit(broken, title="t", scenes={})).texts)
    assert "B is broken." in text
    assert "What the files hold" not in text


def test_undefined_is_said_with_its_reason(everything):
    text = " ".join(read(everything).texts)
    assert "is not known: too few." in text
    assert "could not be judged: too few cases have an outline" in text


def test_what_could_not_be_looked_for_is_not_called_absent():
    text = " ".join(read(render_audit(audit(), title="t", scenes={})).texts)
    absent, _, rest = text.partition("Could not be looked for")
    assert KINDS["flipped-masks"].title in absent
    assert KINDS["shifted-masks"].title not in absent
    assert KINDS["shifted-masks"].title in rest


def test_tiny_places_are_shown_near_and_others_whole():
    example = Example("a", "", (((0, 1), (50, 51), (70, 71)),))
    near, whole = shot("one-voxel-islands", example), shot("unseen-background", example)
    assert near.picture.image.shape == (40, 40)
    assert whole.picture.image.shape == (60, 80)
    (top, left, height, width), *_ = near.spots
    assert (top, left) == ((50 - 20) / 40, (70 - 40) / 40)
    assert (height, width) == (1 / 40, 1 / 40)


def test_of_a_volume_the_slice_of_the_place_is_shown():
    example = Example("a", "", (((4, 5), (50, 51), (70, 71)),))
    assert shot("small-holes", example, (9, 60, 80)).picture.plane == 4


def test_the_proposed_place_is_the_drawn_one_moved():
    found = shot(example=Example("a", "", move=Move((0, 5, -3))))
    np.testing.assert_array_equal(
        np.argwhere(found.moved) - np.argwhere(found.picture.reference), [[5, -3]] * 200
    )


def test_only_a_few_get_pictures_and_notes_none():
    many = tuple(Example(f"c{k}") for k in range(50))
    wanted = scenes_wanted([Finding("small-holes", "", many), Finding("touching-border", "", many)])
    assert {name: len(examples) for name, examples in wanted.items()} == {"small-holes": 6}


def test_it_is_written_whole(tmp_path):
    write_audit(tmp_path / "a.html", audit(), title="t", scenes={})
    assert (tmp_path / "a.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    json.dumps(audit().to_dict(), allow_nan=False)
