"""The page in a real Chromium: decide with the keyboard alone, reload, and nothing is lost."""

import io
import json
import re
import shutil
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest

from rareseg.quality.suspects import load_suspects
from rareseg.review.open_review import open_page_api

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect


@pytest.fixture
def tab(chromium):
    """Open pages that may neither complain nor ask anyone else; checked at the end."""
    contexts, complaints, asked = [], [], []

    def open_tab(link, **options):
        context = chromium.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.on("console", lambda line: complaints.append(line.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(link)
        contexts.append(context)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert complaints == []
    ours = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert len(ours) <= 1
    assert all(host.startswith("127.0.0.1:") for host in ours)


def name_oneself(page, name):
    expect(page.locator("#name-dialog")).to_be_visible()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text(f"Reviewer: {name}")
    is_ready(page)


def is_ready(page):
    """The page shows its item and takes a verdict on it."""
    expect(page.locator("#item-title")).not_to_have_text("…")
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")


def is_at(page, position):
    is_ready(page)
    expect(page.locator("#item-where")).to_contain_text(re.compile(rf"^{position} of "))
    expect(page.locator('#list [aria-current="true"] .number')).to_have_text(str(position))


def on_canvas(page, colour) -> int:
    """How many pixels of the picture have a colour, as a screenshot shows it."""
    shot = PIL.Image.open(io.BytesIO(page.locator("#picture").screenshot()))
    return int((np.asarray(shot.convert("RGB")) == colour).all(axis=-1).sum())


def latest(client):
    return {
        (item, name): (answer.verdict, answer.note)
        for item, said in client.server.api.answers.latest().items()
        for name, answer in said.items()
    }


def test_decided_with_the_keyboard_alone_and_still_there_after_a_reload(client, tab):
    ids = [item.id for item in client.server.api.items.items]
    page = tab(client.server.link)
    name_oneself(page, "Ada")
    is_at(page, 1)
    page.keyboard.press("1")
    is_at(page, 2)
    expect(page.locator("#status")).to_have_text(re.compile(r"^Saved: accept label, for item 1 "))
    page.keyboard.press("m")
    page.keyboard.type("3 blurred? n")  # keys are text while one writes
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    is_at(page, 3)
    page.keyboard.press("n")
    is_at(page, 4)
    page.keyboard.press("4")
    is_at(page, 5)
    page.keyboard.press("p")
    is_at(page, 4)
    expect(page.locator('[data-verdict="ignore region"]')).to_have_attribute("aria-pressed", "true")
    said = {
        (ids[0], "Ada"): ("accept label", ""),
        (ids[1], "Ada"): ("exclude case", "3 blurred? n"),
        (ids[3], "Ada"): ("ignore region", ""),
    }
    assert latest(client) == said
    page.reload()
    expect(page.locator("#who")).to_have_text("Reviewer: Ada")
    is_at(page, 4)
    expect(page.locator("#progress-text")).to_have_text(f"3 of {len(ids)} decided")
    expect(page.locator('[data-verdict="ignore region"]')).to_have_attribute("aria-pressed", "true")
    assert latest(client) == said
    page.keyboard.press("u")  # also of what was decided before the reload
    expect(page.locator("#status")).to_have_text("Your last decision was taken back.")
    expect(page.locator('[data-verdict="ignore region"]')).to_have_attribute(
        "aria-pressed", "false"
    )
    del said[ids[3], "Ada"]
    assert latest(client) == said
    page.keyboard.press("s")
    page.keyboard.press("u")  # in a list a letter chooses: "undecided by me"
    expect(page.locator("#shown")).to_have_value("undecided")
    expect(page.locator("#list li")).to_have_count(len(ids) - 2)


def test_a_second_reviewer_beside_the_first(client, tab):
    first, second = tab(client.server.link), tab(client.server.link)
    name_oneself(first, "Ada")
    name_oneself(second, "Bo")
    first.keyboard.press("2")
    is_at(first, 2)
    second.keyboard.press("n")
    second.keyboard.press("p")
    is_at(second, 1)
    expect(second.locator("#others")).to_have_text("1 other has decided; shown after you did.")
    expect(second.locator("#list .mine").first).to_have_text("")
    second.keyboard.press("5")
    is_at(second, 2)
    second.keyboard.press("p")
    expect(second.locator("#others")).to_have_text("Ada said “accept prediction”")
    expect(second.locator("#list .mine").first).to_have_text("≠ unsure")
    expect(second.locator("#agreement")).to_contain_text("Ada, Bo: 1 item decided by all")
    assert {name: verdict for (_, name), (verdict, _) in latest(client).items()} == {
        "Ada": "accept prediction",
        "Bo": "unsure",
    }


def test_outlines_are_where_label_and_prediction_lie_and_can_be_hidden(client, tab):
    yellow, blue = (240, 228, 66), (86, 180, 233)
    api = client.server.api
    both = next(
        place
        for place, item in enumerate(api.items.items)
        if (viewed := api.cases.look(item.case_id)).labels.any() and viewed.predicted.any()
    )
    page = tab(client.server.link)
    name_oneself(page, "Ada")
    for _ in range(both):
        page.keyboard.press("n")
    is_at(page, both + 1)
    page.keyboard.press("0")
    assert on_canvas(page, yellow) > 20
    assert on_canvas(page, blue) > 20
    page.keyboard.press("l")
    assert on_canvas(page, yellow) == 0
    expect(page.locator("#show-label")).not_to_be_checked()
    page.keyboard.press("r")
    assert on_canvas(page, blue) == 0
    page.keyboard.press("l")
    assert on_canvas(page, yellow) > 20


def test_zoom_pan_window_and_help_by_keys(client, tab):
    page = tab(client.server.link)
    name_oneself(page, "Ada")
    is_ready(page)
    page.keyboard.press("0")
    before = float(page.locator("#zoom-value").inner_text()[:-1])
    for _ in range(3):
        page.keyboard.press("+")
    assert float(page.locator("#zoom-value").inner_text()[:-1]) == pytest.approx(
        before * 1.25**3, abs=0.51
    )
    picture = page.evaluate("document.getElementById('picture').toDataURL()")
    page.keyboard.press("Shift+ArrowRight")
    moved = page.evaluate("document.getElementById('picture').toDataURL()")
    assert moved != picture
    page.keyboard.press(";")
    page.keyboard.press(".")
    assert page.evaluate("document.getElementById('picture').toDataURL()") != moved
    assert page.locator("#window-value").inner_text() == "230"
    page.keyboard.press("w")
    assert page.evaluate("document.getElementById('picture').toDataURL()") == moved
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("1")  # decides nothing while the help is open
    page.keyboard.press("Escape")
    expect(page.locator("#help")).not_to_be_visible()
    assert latest(client) == {}


def test_everything_can_be_reached_with_the_tab_key(client, tab):
    page = tab(client.server.link)
    name_oneself(page, "Ada")
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.dataset.verdict")
        )
    needed = {"picture", "next", "previous", "show-label", "show-prediction", "level", "window"}
    needed |= {
        "kind",
        "shown",
        "note",
        "undo",
        "change-name",
        "help-open",
        "accept label",
        "unsure",
    }
    assert needed <= reached
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, select, canvas, progress")].filter((e) =>
        !(e.labels && e.labels.length) && !e.ariaLabel && !e.textContent.trim()).map((e) => e.id)"""
    )
    assert unnamed == []


def test_slices_and_channels_of_a_volume_by_keys(volumes, serve, tab, tmp_path):
    run = shutil.copytree(volumes / "run", tmp_path / "run", ignore=shutil.ignore_patterns("store"))
    client = serve(open_page_api(run))
    page = tab(client.server.link)
    name_oneself(page, "Ada")
    begun = int(page.locator("#slice-value").inner_text().split()[0])
    up = begun < 6
    page.keyboard.press("ArrowUp" if up else "ArrowDown")
    expect(page.locator("#slice-value")).to_have_text(f"{begun + (1 if up else -1)} of 6")
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#slice-value")).to_have_text("1 of 6")
    expect(page.locator("#picture")).to_have_attribute(
        "aria-label", re.compile(r"slice 1 of 6: 0 pixels drawn")
    )
    first = page.locator("#picture").screenshot()
    page.keyboard.press("c")
    expect(page.locator("#channel")).to_have_value("1")
    assert page.locator("#channel option").all_inner_texts() == ["FLAIR", "T1"]
    for _ in range(100):
        if page.locator("#picture").screenshot() != first:
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("another channel looks the same")
    assert latest(client) == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_on_wide_and_narrow_screens(client, tab, width, scheme):
    page = tab(client.server.link, viewport={"width": width, "height": 800}, color_scheme=scheme)
    name_oneself(page, "Ada")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 128) == (scheme == "dark")
    for verdict in page.locator("[data-verdict]").all():
        box = verdict.bounding_box()
        assert 0 <= box["y"] <= 800 - box["height"]  # in sight without scrolling


def test_without_the_token_the_browser_sees_nothing(client, chromium):
    page = chromium.new_page()
    answer = page.goto(client.server.link.partition("?")[0])
    assert answer.status == 403
    assert "rareseg review" in page.content()
    assert load_suspects(client.server.api.answers.path.parents[1] / "suspects.json")[0].id not in (
        page.content()
    )
    page.close()


def test_a_lost_server_is_told_and_nothing_is_said_to_be_saved(run, serve, chromium):
    client = serve(open_page_api(run))
    page = chromium.new_page()
    page.goto(client.server.link)
    name_oneself(page, "Ada")
    page.route("**/api/decisions", lambda route: route.abort())
    page.keyboard.press("1")
    expect(page.locator("#status")).to_contain_text("nothing was saved")
    assert "bad" in page.locator("#status").get_attribute("class")
    is_at(page, 1)
    assert latest(client) == {}
    full = {"error": "the disk is full, so nothing was decided; make room."}
    page.route(  # what is said later counts
        "**/api/decisions",
        lambda route: route.fulfill(
            status=500, content_type="application/json", body=json.dumps(full)
        ),
    )
    page.keyboard.press("1")
    expect(page.locator("#status")).to_have_text(full["error"])
    is_at(page, 1)
    page.close()
