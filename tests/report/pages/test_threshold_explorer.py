"""The page's own arithmetic, in a real browser, against masks that are cut and measured."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from rareseg.decision.operating_point import OperatingPoint, choose_with_frontier, make_goal
from rareseg.evaluation.measures.case_result import measure_case
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.measures.scorecard import make_scorecard
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.evaluation.tables.area_openings import levels_of, open_levels
from rareseg.evaluation.tables.score_table import region_references
from rareseg.report.figures.case_pictures import PictureChoice, take_picture
from rareseg.report.pages.report_page import write_report
from rareseg.report.pages.threshold_explorer import (
    explorer_record,
    offered_cuts,
    picture_record,
    to_screen,
)
from rareseg_runner.decision.component_size import as_size
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes

TWO_CLASSES = Classes(
    ("background", "pit", "crack"), (0, 1, 2), {"foreground": (1, 2), "pit": (1,), "crack": (2,)}
)
"""Those of ``content``."""

WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}


def test_cuts_hold_the_chosen_point_and_the_grid(content):
    for region in content.regions:
        cuts = offered_cuts(content.components, region, content.points[region])
        assert np.float32(cuts.chosen.threshold) in np.float32(cuts.thresholds)
        assert cuts.chosen.smallest_component in cuts.sizes
        assert 0.5 in cuts.thresholds
        amounts = [size.amount for size in cuts.sizes]
        assert amounts == sorted(set(amounts))
        assert {size.unit for size in cuts.sizes} == {None, "pixels"}
    assert offered_cuts(content.components, "absent", None) is None


def test_nothing_to_explore_without_components(content):
    assert explorer_record(replace(content, components=None), "foreground") is None


def test_a_picture_of_another_case_is_not_painted(content):
    picture = content.pictures[0]
    assert picture_record(picture, [picture.case_id]) is not None
    assert picture_record(picture, ["another"]) is None
    assert picture_record(replace(picture, levels=None), [picture.case_id]) is None


def test_large_pictures_shrink_and_keep_every_voxel():
    layers = np.zeros((2, 901, 450), np.uint8)
    layers[0, 900, 449] = 7
    small = to_screen(layers)
    assert max(small.shape[1:]) <= 400
    assert small[0, -1, -1] == 7
    assert small[0].sum() == 7
    assert not small[1].any()


@pytest.fixture(scope="module")
def report(content, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    guaranteed = dict.fromkeys(content.regions, "certified: at most 10 % of images alarm.")
    write_report(path, replace(content, guarantees=guaranteed))
    return path


@pytest.fixture
def open_page(chromium, report):
    """Open the report; at the end nothing may have gone wrong, and no host been asked."""
    pages, wrong = [], []

    def opened(width: str = "desk", *, dark: bool = False, path: Path = report):
        w, h = WIDTHS[width]
        context = chromium.new_context(
            viewport={"width": w, "height": h}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url)
            ),
        )
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-explorers=ready]")
        pages.append(context)
        return page

    yield opened
    for context in pages:
        context.close()
    assert wrong == []


def scorecard_at(cases, region, point):
    results = []
    for case in cases:
        scores = region_scores(case.probabilities, TWO_CLASSES)[region]
        reference = region_references(case.labels, TWO_CLASSES)[region]
        presence = case.presence(TWO_CLASSES)[region]
        results.append(
            measure_case(
                apply_point(scores, point, presence),
                reference,
                case_id=case.id,
                point=point,
                top_score=float(scores.max()),
                presence=presence,
                role=case.role,
                group=case.group,
            )
        )
    return make_scorecard(results).region(region), results


def move(page, key, control, value):
    page.evaluate(
        """([key, control, value]) => {
          const section = document.querySelector(`[data-explorer="${key}"]`);
          const one = section.querySelector(`[data-control="${control}"]`);
          one.value = value; one.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [key, control, str(value)],
    )


def shown(page, key):
    """Return what the table says here, by its rows in order, None for undefined."""
    values = page.eval_on_selector_all(
        f'[data-explorer="{key}"] .now tbody tr:not(.stratum) td:nth-child(2)',
        "cells => cells.map(cell => cell.dataset.value)",
    )
    return [None if value == "" else float(value) for value in values]


def test_every_number_is_what_an_evaluation_counts_there(open_page, content, tested_cases):
    """Over 20 thresholds, sizes and gates in turn, in each of three regions."""
    page = open_page()
    assert len(content.regions) == 3
    for number, region in enumerate(content.regions):
        key = f"region-{number}"
        record = explorer_record(content, region)
        gates = sorted({0.0, *record["thresholds"], *record["gates"], record["chosen"]["gate"]})
        levels = np.linspace(2, len(record["thresholds"]) - 3, 22).round().astype(int)
        for turn, level in enumerate(levels):
            size = turn % len(record["sizes"])
            gate = 0 if turn % 3 else min(level + 4, len(gates) - 1)
            for control, value in (("threshold", level), ("size", size), ("gate", gate)):
                move(page, key, control, value)
            point = OperatingPoint(
                region,
                record["thresholds"][level],
                gate=gates[gate],
                smallest_component=record["sizeNames"][size],
            )
            card, results = scorecard_at(tested_cases, region, point)
            counts = [result.counts for result in results]
            expected = [card[measure.name] for measure in shown_in("strata")]
            values = [e.value if is_defined(e.value) else None for e in expected]
            values += [sum(getattr(c, name) for c in counts) for name in ("tp", "fp", "fn", "tn")]
            values.append(sum(c.fp + c.fn for c in counts) / len(counts))
            assert shown(page, key) == pytest.approx(values, abs=1e-12), (region, point)


@pytest.mark.slow
def test_masks_follow_the_sliders_pixel_by_pixel(open_page, content, tested_cases):
    page = open_page()
    by_id = {case.id: case for case in tested_cases}
    for number, region in enumerate(content.regions):
        key = f"region-{number}"
        page.locator('[role="tab"]').nth(number).click()
        record = explorer_record(content, region)
        own = [picture for picture in content.pictures if picture.region == region]
        for level in np.linspace(4, len(record["thresholds"]) - 6, 5).round().astype(int):
            move(page, key, "gate", 0)
            move(page, key, "size", level % len(record["sizes"]))
            move(page, key, "threshold", level)
            for k, picture in enumerate(own):
                place = page.locator(f'[data-live="{key}-picture-{k}"]')
                place.scroll_into_view_if_needed()
                case = by_id[picture.case_id]
                point = OperatingPoint(
                    region,
                    record["thresholds"][level],
                    smallest_component=record["sizeNames"][level % len(record["sizes"])],
                )
                scores = region_scores(case.probabilities, TWO_CLASSES)[region]
                mask = apply_point(scores, point, case.presence(TWO_CLASSES)[region])[0]
                expected = {
                    "right": int((mask & picture.reference).sum()),
                    "wrong": int((mask & ~picture.reference).sum()),
                    "missed": int((~mask & picture.reference).sum()),
                }
                page.wait_for_function(
                    """([key, expected]) => {
                      const canvas = document.querySelector(`[data-live="${key}"] canvas`);
                      return canvas && Object.entries(expected).every(
                        ([name, value]) => canvas.dataset[name] === String(value));
                    }""",
                    arg=[f"{key}-picture-{k}", expected],
                    timeout=10_000,
                )


def test_the_keyboard_moves_the_cut_and_a_reader_hears_it(open_page):
    page = open_page()
    slider = page.locator('[data-explorer="region-0"] [data-control="threshold"]')
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before
    page.wait_for_function(
        "document.querySelector('[data-explorer=\"region-0\"] [role=status]').textContent"
        ".includes('dice')"
    )


def test_a_guarantee_is_of_its_own_cut_alone(open_page):
    page = open_page()
    guarantee = page.locator('[data-explorer="region-0"] .guarantee')
    assert "certified" in guarantee.inner_text()
    move(page, "region-0", "threshold", 5)
    assert "No guarantee covers this cut" in guarantee.inner_text()
    page.locator('[data-explorer="region-0"] [data-jump="chosen"]').click()
    assert "certified" in guarantee.inner_text()


def test_the_mark_on_each_curve_is_where_the_cut_is(open_page, content):
    page = open_page()
    page.locator('[data-explorer="region-0"] [data-jump="half"]').click()
    for name in ("threshold", "precision_recall", "roc", "froc"):
        plot = page.locator(f'[data-figure="region-0-{name}"]')
        plot.scroll_into_view_if_needed()
        page.wait_for_function(
            "figure => document.querySelector(`[data-figure='${figure}']`).dataset.here",
            arg=f"region-0-{name}",
        )
        here = json.loads(plot.get_attribute("data-here"))
        drawn = page.evaluate(
            """figure => { const plot = document.querySelector(`[data-figure='${figure}']`);
              return plot.data.filter(t => (t.mode || "") === "markers")
                .map(t => [t.name || "", t.x[0], t.y[0]]); }""",
            f"region-0-{name}",
        )
        if name in ("precision_recall", "roc"):
            usual = next(mark for mark in drawn if mark[0] == "threshold 0.5")
            assert [here["x"], here["y"]] == pytest.approx(usual[1:], abs=1e-4)
        if name == "threshold":
            assert here["x"] == pytest.approx(0.0)


def least_cost(content, region, goal):
    """Return the point that `tune` would choose on the page's cases, and whether it is silent."""
    cuts = offered_cuts(content.components, region, content.points[region])
    shown = {result.case_id for result in content.results_of(region)}
    table = content.components.select(case_ids=shown)
    choice = choose_with_frontier(table, region=region, maximize=goal, smallest=cuts.sizes)
    if isinstance(choice.found, OperatingPoint):
        return choice.found, choice.found.mean_dice == 0.0
    [refused] = [point for point in choice.frontier.points if "refused" in point.notes]
    return refused, False


def here(page, key):
    """Return the threshold, the size and the gate of the cut, as its command names them."""
    words = shlex.split(page.locator(f'[data-explorer="{key}"] .command').inner_text())
    told = {words[k]: words[k + 1] for k in range(len(words) - 1) if words[k].startswith("--")}
    return (
        float(told["--threshold"]),
        as_size(told.get("--smallest-component", "0")),
        float(told.get("--gate", 0.0)),
    )


@pytest.mark.parametrize("level", ["voxel", "object", "image"])
def test_least_cost_is_what_tune_would_choose(open_page, content, level):
    page = open_page()
    seen = set()
    for number, region in enumerate(content.regions):
        key = f"region-{number}"
        page.locator('[role="tab"]').nth(number).click()
        section = page.locator(f'[data-explorer="{key}"]')
        for false, missed in ((1, 1), (1, 20), (20, 1), (0, 1), (1, 0)):
            section.locator('[data-cost="positive"]').fill(str(false))
            section.locator('[data-cost="negative"]').fill(str(missed))
            section.locator('[data-cost="level"]').select_option(level)
            section.locator('[data-jump="chosen"]').click()
            section.locator('[data-jump="cheapest"]').click()
            goal = make_goal(
                "cost", cost_false_positive=false, cost_false_negative=missed, level=level
            )
            point, silent = least_cost(content, region, goal)
            said = section.locator(".cheapest").inner_text()
            assert ("Predicting nothing" in said) == silent
            if not silent:
                expected = (point.threshold, point.smallest_component, point.gate)
                assert here(page, key) == expected, (region, goal)
                seen.add(expected)
    assert len(seen) > 2


def test_flagging_every_image_is_named_where_it_is_cheapest(open_page, content):
    page = open_page()
    section = page.locator('[data-explorer="region-0"]')
    section.locator('[data-cost="level"]').select_option("image")
    section.locator('[data-cost="positive"]').fill("0")
    section.locator('[data-jump="cheapest"]').click()
    assert (
        "Flagging every image is cheapest: 0 per case." in section.locator(".cheapest").inner_text()
    )


def test_the_command_names_the_cut(open_page, content):
    page = open_page()
    move(page, "region-0", "threshold", 40)
    text = page.locator('[data-explorer="region-0"] .command').inner_text()
    record = explorer_record(content, "foreground")
    assert text.startswith("rareseg tune Specks --region foreground --threshold ")
    assert float(text.split("--threshold ")[1].split()[0]) == record["thresholds"][40]


def test_the_slices_of_a_volume_follow_both_sliders(open_page, content, tmp_path):
    rng = np.random.default_rng(3)
    scores = ndimage.gaussian_filter(rng.random((9, 40, 40)), 2)
    scores = ((scores - scores.min()) / np.ptp(scores)).astype(np.float32)
    reference = scores > 0.6
    cuts = offered_cuts(content.components, "foreground", content.points["foreground"])
    levels = open_levels(
        levels_of(scores, np.array(cuts.thresholds, np.float32)),
        [size.voxels((1.0, 1.0, 1.0)) for size in cuts.sizes],
    )
    shot = PictureChoice(content.pictures[0].case_id, "foreground", "positive", "worst")
    image = (255 * scores[np.newaxis]).astype(np.uint8)
    picture = take_picture(shot, image, reference, scores > 0.5, levels=levels, most_slices=9)
    assert [one.plane for one in picture.slices] == list(range(9))
    path = tmp_path / "volume.html"
    write_report(path, replace(content, pictures=(picture,)))
    page = open_page(path=path)
    stack = page.locator(".slices input")
    stack.scroll_into_view_if_needed()
    for plane, level in ((1, 40), (7, 40), (7, 70), (4, 20)):
        page.evaluate(
            """([plane]) => { const one = document.querySelector(".slices input");
              one.value = plane; one.dispatchEvent(new Event("input")); }""",
            [plane],
        )
        move(page, "region-0", "gate", 0)
        move(page, "region-0", "size", 1)
        move(page, "region-0", "threshold", level)
        stack.scroll_into_view_if_needed()
        point = OperatingPoint(
            "foreground", cuts.thresholds[level], smallest_component=cuts.sizes[1]
        )
        mask = apply_point(scores, point)[plane]
        expected = [(mask & reference[plane]).sum(), (mask & ~reference[plane]).sum()]
        page.wait_for_function(
            """([right, wrong]) => {
              const canvas = document.querySelector("[data-live] canvas");
              return canvas && canvas.dataset.right === right && canvas.dataset.wrong === wrong;
            }""",
            arg=[str(number) for number in expected],
            timeout=10_000,
        )
        assert f"Slice {plane}." in page.locator(".plane").inner_text()


def test_pictures_and_cases_can_be_narrowed_and_saved(open_page, content):
    page = open_page()
    gallery = page.locator("#region-0 [data-gallery]")
    pictures = [p for p in content.pictures if p.region == "foreground"]
    visible = page.locator("#region-0 .picture:visible")
    gallery.locator('[data-filter="stratum"]').select_option("negative")
    assert visible.count() == sum(p.stratum == "negative" for p in pictures) > 0
    gallery.locator('[data-filter="stratum"]').select_option("")
    gallery.locator('[data-filter="why"]').select_option("worst")
    assert visible.count() == sum(p.caption == "worst" for p in pictures) > 0
    gallery.locator('[data-filter="why"]').select_option("")
    gallery.locator('[data-filter="name"]').fill(pictures[0].case_id.upper())
    assert visible.count() == 1
    assert f"1 of {len(pictures)}" in gallery.locator('[role="status"]').inner_text()

    page.locator("#region-0 [data-table] input").fill("plate-2000")
    assert page.locator("#region-0 .cases tbody tr:visible").count() == 1
    with page.expect_download() as waiting:
        page.locator("#region-0 [data-save]").click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("plate-2000,")


@pytest.mark.parametrize("width", list(WIDTHS))
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_screen_and_axe_finds_no_serious_fault(open_page, width, dark):
    page = open_page(width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width][0]
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in serious] == []
