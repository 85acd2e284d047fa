"""What was delivered and mined, in the rows and sentences of the page."""

from dataclasses import replace

import pytest

from rareseg.report.pages.report_page import render
from rareseg.report.tables.delivered_shares import mining_view, phase_views, seen_sentences
from rareseg.sampling.mining.label_suspects import MinedSuspect
from rareseg.sampling.patches.composition import Composition, PasteCount
from rareseg.training.mining_round import MiningRecord, Round

BALANCED = Composition(
    patches=80,
    pools=("background", "speck"),
    asked=(0.5, 0.5),
    drawn=(0.5, 0.5),
    centres=(40, 40),
    classes=("background", "speck"),
    voxels=(6000, 2000),
    ignored=10,
    with_foreground=55,
    cases=(30, 0, 50),
    windows=79,
    covered=(0.4, 1.0),
    phase="balanced",
)
NATURAL = replace(
    BALANCED,
    patches=20,
    pools=("everything",),
    asked=(1.0,),
    drawn=(1.0,),
    centres=(20,),
    voxels=(2000, 0),
    with_foreground=1,
    cases=(10, 0, 10),
    windows=99,
    covered=(0.5, 1.0),
    phase="late",
)
WHOLE = replace(
    BALANCED,
    patches=100,
    pools=("background", "speck", "everything"),
    asked=(0.4, 0.4, 0.2),
    drawn=(0.4, 0.4, 0.2),
    centres=(40, 40, 20),
    cases=(40, 0, 60),
    windows=99,
    covered=(0.5, 1.0),
    phase="",
    phases=(BALANCED, NATURAL),
)
RECORD = MiningRecord(
    rounds=(
        Round(
            round=1,
            step=1200,
            weights="0123456789abcdef",
            judged={"background": 1000, "speck": 40},
            found={
                "low confidence: background": 30,
                "low confidence: speck": 9,
                "false positives": 12,
                "false negatives": 4,
            },
            set_aside=2,
        ),
    ),
    suspects=tuple(
        MinedSuspect(f"case {n}", ((0, 1), (3, 5), (7, 9)), "speck", "background", 3, 30 - n)
        for n in range(25)
    ),
)


def test_every_phase_has_its_tables():
    first, second = phase_views(WHOLE, {"background": 0.99, "speck": 0.01})
    assert (first.name, first.patches, first.with_foreground) == ("balanced", 80, 55)
    assert [(row.name, row.asked, row.delivered) for row in first.pools] == [
        ("background", 0.5, 0.5),
        ("speck", 0.5, 0.5),
    ]
    assert [(row.name, row.asked, row.delivered) for row in first.prior] == [
        ("background", 0.99, 0.75),
        ("speck", 0.01, 0.25),
    ]
    assert [row.name for row in second.pools] == ["everything"]


def test_a_run_of_one_phase_has_one_without_a_name():
    (only,) = phase_views(replace(BALANCED, phase=""), {})
    assert only.name == ""


def test_what_was_seen_in_words():
    assert seen_sentences(WHOLE, voxel="pixel") == (
        "99 different windows in 100 patches.",
        "3 cases: 0 to 60 patches from each, 40 in the median; 1 case was never seen.",
        "At least once a window held 50 % of the pixels of background and 100 % of the pixels of "
        "speck.",
    )


def test_what_was_pasted_in_words():
    pasted = replace(WHOLE, pasted=PasteCount(objects=1200, textures=1, failed=7))
    assert seen_sentences(pasted)[1] == (
        "An object was pasted into 1,200 windows, background in the shape of one into 1; for 7 "
        "nothing fitted."
    )


def test_what_was_not_counted_is_not_said():
    old = Composition.from_dict(
        {
            name: value
            for name, value in BALANCED.to_dict().items()
            if name not in ("cases", "windows", "covered", "phase", "phases")
        }
    )
    assert seen_sentences(old) == ()
    absent = replace(BALANCED, covered=(0.4, None))
    assert seen_sentences(absent)[-1].endswith("held 40 % of the voxels of background.")


def test_rounds_and_the_largest_suspects():
    view = mining_view(RECORD)
    assert view is not None
    assert dict(zip(view.columns, view.rounds[0], strict=True)) == {
        "Round": "1",
        "Step": "1,200",
        "Voxels judged": "1,040",
        "Hard": "39",
        "False positives": "12",
        "Set aside": "2",
    }
    assert (len(view.suspects), view.n_suspects) == (20, 25)
    assert view.suspects[0] == ("case 0", "speck", "background", "3", "30", "0, 3, 7", "0, 4, 8")
    assert mining_view(MiningRecord()) is None


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_shows_them(content, shown):
    if shown:
        content = replace(content, composition=WHOLE, mining=RECORD)
    page = render(content)
    for text in ("· late", "What mining found", "The 20 largest of 25", "case was never seen"):
        assert (text in page) == shown
