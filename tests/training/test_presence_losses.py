from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from rareseg.prediction.model import IMAGE_HEAD
from rareseg.prediction.networks import build_network, deepest, networks, stride
from rareseg.prediction.presence_head import kept_weights
from rareseg.recipe import make_recipe
from rareseg.training.losses import training_loss
from rareseg.training.presence_losses import PresenceOdds, WithPresence, cell_loss, image_loss
from rareseg_runner.image_records import IGNORE

REGIONS = ((1, 2), (2,))
"""Everything that is no background, and the second class."""

SMALL = {
    "basicunet": {"width": (8, 16, 16, 16, 24)},
    "segresnet": {"first_width": 8, "levels": 3},
    "encoder_unet": {},
}


def a_network(name: str, dimension: int) -> tuple[WithPresence, int]:
    values = {"name": name, **SMALL.get(name, {"width": (8, 16, 24)})}
    settings = make_recipe({"network": values}).network
    at, features = deepest(settings)
    network = build_network(settings, dimension=dimension, channels=1, classes=3)
    both = WithPresence(
        network, deepest=at, features=features, dimension=dimension, classes=3, regions=REGIONS
    )
    return both, 2 * stride(settings)


NETWORKS = [
    (name, dimension)
    for name in networks()
    for dimension in (2, 3)
    if (name, dimension) != ("encoder_unet", 3)
]


@pytest.mark.parametrize(("name", "dimension"), NETWORKS)
def test_every_network_tells_presence_at_its_deepest_level(name: str, dimension: int) -> None:
    network, side = a_network(name, dimension)
    images = torch.randn(2, 1, *(side,) * dimension)
    logits, odds = network.train()(images)
    assert logits.shape == (2, 3, *(side,) * dimension)
    assert odds.cells.shape == (2, 2, *(2,) * dimension), "the deepest level halves to two cells"
    assert odds.image.shape == (2, 2)
    encoder = next(network.network.parameters())
    with torch.no_grad():
        network.image_head.linear.weight.fill_(0.1)
    for which in (0, 1):
        encoder.grad = None
        network(images)[1][which].sum().backward()
        assert encoder.grad is not None
        assert encoder.grad.abs().sum() > 0, "the first layer learns from either answer"


def test_only_what_is_said_of_the_image_is_left_when_it_does_not_train() -> None:
    network, side = a_network("half_unet", 2)
    images = torch.randn(3, 1, side, side)
    logits, odds = network.eval()(images)
    assert torch.equal(logits, network.network(images))
    assert torch.equal(odds, torch.zeros(3, 2)), "it begins by saying nothing"


def test_a_bundle_keeps_the_network_and_the_image_head() -> None:
    network, _ = a_network("half_unet", 2)
    kept = kept_weights(network.state_dict())
    head = {name for name in kept if name.startswith(IMAGE_HEAD)}
    assert head == {f"{IMAGE_HEAD}linear.weight", f"{IMAGE_HEAD}linear.bias"}
    assert kept.keys() - head == network.network.state_dict().keys()
    alone = network.network.state_dict()
    assert kept_weights(alone) == alone


def cost(odds: float, held: bool) -> float:
    return math.log1p(math.exp(-odds if held else odds))


def test_a_window_holds_a_region_where_any_voxel_is_in_it() -> None:
    labels = torch.zeros(4, 4, 4, dtype=torch.int64)
    labels[0, 1, 1] = 1
    labels[1, 2, 3] = 2
    labels[2] = IGNORE
    labels[3, :3] = IGNORE
    odds = torch.tensor([[2.0, -1.0], [0.5, 3.0], [9.0, -9.0], [1.0, -2.0]])
    expected = [cost(2.0, True), cost(-1.0, False), cost(0.5, True), cost(3.0, True)]
    expected += [cost(1.0, False), cost(-2.0, False)]
    assert float(image_loss(odds, labels, REGIONS)) == pytest.approx(sum(expected) / 6, rel=1e-6)


def test_windows_without_a_known_voxel_teach_the_image_head_nothing() -> None:
    odds = torch.randn(2, 2, requires_grad=True)
    value = image_loss(odds, torch.full((2, 4, 4), IGNORE), REGIONS)
    value.backward()
    assert float(value) == 0.0
    assert odds.grad is not None
    assert odds.grad.abs().sum() == 0


def test_what_is_said_beside_the_outlines_costs_as_much_as_its_weight() -> None:
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[0, 2, 2] = 1
    logits, cells, image = torch.randn(2, 3, 8, 8), torch.randn(2, 2, 2, 2), torch.randn(2, 2)

    def outlines(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels)

    output = (logits, PresenceOdds(cells, image))
    found = training_loss(outlines, output, labels, presence_weight=0.5, regions=REGIONS)
    beside = cell_loss(cells, labels) + image_loss(image, labels, REGIONS)
    assert float(found) == pytest.approx(float(outlines(logits, labels) + 0.5 * beside), rel=1e-6)
    assert torch.equal(training_loss(outlines, logits, labels), outlines(logits, labels))


def test_the_image_head_learns_which_images_hold_what() -> None:
    torch.manual_seed(0)
    network = WithPresence(
        torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1)
        ),
        deepest="1",
        features=8,
        dimension=2,
        classes=3,
        regions=REGIONS,
    )
    labels = torch.zeros(16, 12, 12, dtype=torch.int64)
    labels[4:8, 5, 5] = 1
    labels[8:, 3:5, 7] = 2
    images = labels[:, None].float() * 2 + 0.3 * torch.randn(16, 1, 12, 12)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        odds = network.train()(images)[1]
        image_loss(odds.image, labels, REGIONS).backward()
        optimizer.step()
    said = network.eval()(images)[1] > 0
    assert said[:, 0].tolist() == [False] * 4 + [True] * 12
    assert said[:, 1].tolist() == [False] * 8 + [True] * 8


def test_a_cell_holds_a_class_where_any_of_its_voxels_does() -> None:
    # 4 x 4 voxels, 2 x 2 cells: class 1 in the first cell, class 2 in the last.
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 1, 1] = 1
    labels[0, 2:, 2:] = 2
    presence = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]], [[-2.0, 1.0], [0.0, 4.0]]]])

    cells = [cost(2.0, True), cost(-1.0, False), cost(0.5, False), cost(-3.0, False)]
    cells += [cost(-2.0, False), cost(1.0, False), cost(0.0, False), cost(4.0, True)]
    where_held = (cells[0] + cells[7]) / 2
    patches = (cost(2.0, True) + cost(4.0, True)) / 2
    expected = sum(cells) / 8 + where_held + patches
    assert float(cell_loss(presence, labels)) == pytest.approx(expected, rel=1e-6)


def test_unknown_cells_cost_nothing_whatever_is_said_there() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, :2] = IGNORE
    labels[0, 3, 0] = 1
    presence = torch.randn(1, 1, 2, 2)
    changed = presence.clone()
    changed[0, 0, 0] = torch.tensor([50.0, -50.0])
    assert torch.equal(cell_loss(presence, labels), cell_loss(changed, labels))


def test_a_patch_without_a_known_voxel_is_finite_and_silent() -> None:
    labels = torch.full((2, 4, 4), IGNORE)
    presence = torch.randn(2, 3, 2, 2, requires_grad=True)
    value = cell_loss(presence, labels)
    value.backward()
    assert torch.isfinite(value)
    assert presence.grad is not None
    assert presence.grad.abs().sum() == 0


def test_learning_by_presence_alone_finds_the_cells() -> None:
    torch.manual_seed(0)
    presence = torch.zeros(1, 2, 4, 4, requires_grad=True)
    labels = torch.zeros(1, 16, 16, dtype=torch.int64)
    labels[0, 5, 9] = 2
    optimizer = torch.optim.Adam([presence], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        cell_loss(presence, labels).backward()
        optimizer.step()
    wanted = F.one_hot(torch.tensor(1 * 4 + 2), 16).view(4, 4).bool()
    assert torch.equal(presence.detach()[0, 1] > 0, wanted)
    assert not (presence.detach()[0, 0] > 0).any()
