from dataclasses import replace

import numpy as np
import pytest
import torch

from rareseg.recipe import AugmentationSection
from rareseg.report.figures.patch_sheet import (
    CASING,
    COLOURS,
    HATCH,
    SIDE,
    Panel,
    SheetRow,
    draw_sheet,
    paint,
    shown_size,
)
from rareseg.report.wording.augmentation_text import describe_changes
from rareseg.sampling.augmentation.augmentation_plan import AugmentationPlan, draw_plan
from rareseg_runner.image_records import IGNORE


def a_panel(height: int = 40, width: int = 30) -> Panel:
    labels = np.zeros((height, width), np.uint8)
    labels[5:15, 5:25] = 1
    labels[20:24, 5:9] = 2
    labels[-8:] = IGNORE
    return Panel(np.full((height, width), 100, np.uint8), labels, "turned 3°")


def test_masks_are_outlined_in_their_colours_and_what_is_ignored_is_hatched() -> None:
    panel = a_panel()
    shown = paint(panel)
    times = SIDE // 40
    assert shown.shape == (40 * times, 30 * times, 3)

    def at(y: int, x: int) -> tuple[int, ...]:
        return tuple(shown[y * times + times // 2, x * times + times // 2].tolist())

    assert at(0, 0) == (100, 100, 100)
    assert at(10, 15) == (100, 100, 100)  # within the first class
    assert tuple(shown[5 * times, 10 * times]) == COLOURS[0]
    assert tuple(shown[5 * times - 1, 10 * times]) == CASING
    assert tuple(shown[20 * times, 5 * times]) == COLOURS[1]
    below = {tuple(pixel) for pixel in shown[33 * times :].reshape(-1, 3).tolist()}
    assert below == {(50, 50, 50), HATCH}


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (1000, 3), (208, 208), (209, 100)])
def test_any_patch_fits_onto_the_sheet(shape: tuple[int, int]) -> None:
    height, width = shown_size(*shape)
    assert min(height, width) >= 1
    assert SIDE // 2 <= max(height, width) <= SIDE
    labels = np.zeros(shape, np.uint8)
    labels[-1, -1] = 1
    shown = paint(Panel(np.zeros((*shape, 3), np.uint8), labels, ""))
    assert shown.shape == (height, width, 3)
    assert (shown.reshape(-1, 3) == COLOURS[0]).all(1).any()  # one voxel is never lost


def test_a_sheet_holds_every_panel() -> None:
    row = SheetRow("a case", [a_panel(), a_panel(), a_panel()])
    few = draw_sheet(
        [row], heading=["title"], columns=["original", "1", "2"], classes=["background", "spot"]
    )
    more = draw_sheet(
        [row, row], heading=["title"], columns=["original", "1", "2"], classes=["background", "x"]
    )
    assert more.width == few.width
    assert more.height > few.height + 150
    pixels = np.asarray(more)
    panel = paint(a_panel())
    places = [
        (y, x)
        for y in range(pixels.shape[0] - panel.shape[0] + 1)
        for x in (14, 14 + panel.shape[1] + 14, 14 + 2 * (panel.shape[1] + 14))
        if (pixels[y : y + panel.shape[0], x : x + panel.shape[1]] == panel).all()
    ]
    assert len(places) == 6


def test_many_long_names_do_not_break_the_legend() -> None:
    row = SheetRow("a case", [a_panel()])
    names = ["background", *(f"a class with a long name, number {i}" for i in range(30))]
    assert draw_sheet([row], heading=[], columns=["original"], classes=names).width == 420


def test_changes_in_words() -> None:
    off = AugmentationSection(
        mirror=0, rotate=0, scale=0, brightness=0, contrast=0, gamma=0, noise=0, blur=0
    )
    generator = torch.Generator().manual_seed(0)
    plan: AugmentationPlan = draw_plan(off, patches=2, patch_size=(8, 8), generator=generator)
    assert describe_changes(plan, 0) == "unchanged"
    hidden = torch.zeros(2, 2, 2)
    hidden[1, :, 1] = 0.5
    plan = replace(
        plan,
        mirror=torch.tensor([[False, True], [False, False]]),
        angles=torch.tensor([[0.1], [0.0]]),
        scale=torch.tensor([1.0, 0.9]),
        shift=torch.tensor([[0.0, 0.0], [2.0, -1.0]]),
        elastic=plan.elastic + torch.tensor([0.0, 1.5]).view(2, 1, 1, 1),
        gamma=torch.tensor([1.2, 1.0]),
        brightness=torch.tensor([0.0, -0.1]),
        resolution=torch.tensor([1.0, 0.5]),
        hidden=hidden,
    )
    assert describe_changes(plan, 0) == "mirrored x, turned 6°, gamma 1.20"
    assert describe_changes(plan, 1) == (
        "size 0.90, moved 2 -1, bent 1.5, brightness -0.10, resolution 50%, a box hidden"
    )
