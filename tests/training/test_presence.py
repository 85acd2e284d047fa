import math

import pytest
import torch
import torch.nn.functional as F

from rareseg.data.records import IGNORE
from rareseg.prediction.networks import build_network, deepest, networks, stride
from rareseg.recipe import make_recipe
from rareseg.training.presence import WithPresence, presence_loss, without_presence

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
    both = WithPresence(network, deepest=at, features=features, dimension=dimension, classes=3)
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
    logits, presence = network.train()(images)
    assert logits.shape == (2, 3, *(side,) * dimension)
    assert presence.shape == (2, 2, *(2,) * dimension), "the deepest level halves to two cells"
    presence.sum().backward()
    encoder = next(network.network.parameters())
    assert encoder.grad is not None
    assert encoder.grad.abs().sum() > 0, "the first layer learns from the coarse answer"


def test_presence_is_left_out_when_it_does_not_train() -> None:
    network, side = a_network("half_unet", 2)
    images = torch.randn(1, 1, side, side)
    network.eval()
    assert torch.equal(network(images), network.network(images))


def test_the_network_alone_takes_the_weights_without_presence() -> None:
    network, _ = a_network("half_unet", 2)
    alone = without_presence(network.state_dict())
    assert alone.keys() == network.network.state_dict().keys()
    network.network.load_state_dict(alone)
    assert without_presence(alone) == alone


def test_a_cell_holds_a_class_where_any_of_its_voxels_does() -> None:
    # 4 x 4 voxels, 2 x 2 cells: class 1 in the first cell, class 2 in the last.
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 1, 1] = 1
    labels[0, 2:, 2:] = 2
    presence = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]], [[-2.0, 1.0], [0.0, 4.0]]]])

    def cost(logit: float, held: bool) -> float:
        return math.log1p(math.exp(-logit if held else logit))

    cells = [cost(2.0, True), cost(-1.0, False), cost(0.5, False), cost(-3.0, False)]
    cells += [cost(-2.0, False), cost(1.0, False), cost(0.0, False), cost(4.0, True)]
    where_held = (cells[0] + cells[7]) / 2
    patches = (cost(2.0, True) + cost(4.0, True)) / 2
    expected = sum(cells) / 8 + where_held + patches
    assert float(presence_loss(presence, labels)) == pytest.approx(expected, rel=1e-6)


def test_unknown_cells_cost_nothing_whatever_is_said_there() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, :2] = IGNORE
    labels[0, 3, 0] = 1
    presence = torch.randn(1, 1, 2, 2)
    changed = presence.clone()
    changed[0, 0, 0] = torch.tensor([50.0, -50.0])
    assert torch.equal(presence_loss(presence, labels), presence_loss(changed, labels))


def test_a_patch_without_a_known_voxel_is_finite_and_silent() -> None:
    labels = torch.full((2, 4, 4), IGNORE)
    presence = torch.randn(2, 3, 2, 2, requires_grad=True)
    value = presence_loss(presence, labels)
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
        presence_loss(presence, labels).backward()
        optimizer.step()
    wanted = F.one_hot(torch.tensor(1 * 4 + 2), 16).view(4, 4).bool()
    assert torch.equal(presence.detach()[0, 1] > 0, wanted)
    assert not (presence.detach()[0, 0] > 0).any()
