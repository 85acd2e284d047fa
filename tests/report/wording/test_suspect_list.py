"""Suspects in words."""

from rareseg.quality.suspects import Suspect
from rareseg.report.wording.suspect_list import suspect_lines

BOX = ((2, 5), (10, 20), (30, 45))
FOUND = (
    Suspect("a", "case 1", None, "core", "missed object", 0.91, BOX, 60, 3, "Because.", aside=True),
    Suspect("b", "case 2", None, "core", "wrong class", 0.80, ((0, 1), *BOX[1:]), 60, 0, "So."),
    Suspect("c", "case 3", None, "core", "missed object", 0.70, BOX, 60, 3, "Hence."),
)


def test_each_kind_has_its_title_and_no_more_than_asked_for():
    lines = suspect_lines(FOUND, most=1)
    assert lines == [
        "Likely missed objects (2, the first 1):",
        "  0.91  case 1, z 3 (of 2–4), y 10–19, x 30–44: Because. Mining had set part of it aside.",
        "Likely wrong classes (1):",
        "  0.80  case 2, y 10–19, x 30–44: So.",
    ]
    assert len(suspect_lines(FOUND, most=9)) == 5


def test_nothing_is_said_in_words_too():
    assert suspect_lines((), most=5) == ["No place in the labels is suspected."]
