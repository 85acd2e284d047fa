import math

import pytest
import torch
import torch.nn.functional as F
from monai.losses import FocalLoss

from rareseg.errors import RecipeError
from rareseg.recipe import LossSection, make_recipe
from rareseg.recipe.loss_sections import RecordedLossSection
from rareseg.training.losses import frequency_weights, make_loss
from rareseg_runner.image_records import IGNORE, Classes

CLASSES = 4


def some_classes(count: int = CLASSES) -> Classes:
    names = tuple(f"class{index}" for index in range(count))
    foreground = tuple(range(1, count))
    regions = {"foreground": foreground} | {names[index]: (index,) for index in foreground}
    return Classes(names, tuple(range(count)), regions)


def section(name: str, **settings: object) -> LossSection:
    return make_recipe({"loss": {"name": name, **settings}}).loss


def a_batch(*, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, 12, 12, generator=generator)
    labels = torch.randint(0, CLASSES, (2, 12, 12), generator=generator)
    return logits, labels


def test_cross_entropy_equals_torch_where_nothing_is_weighted_or_ignored() -> None:
    logits, labels = a_batch()
    loss = make_loss(section("cross_entropy"), some_classes())
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 2.0, 4.0)])
def test_focal_is_that_of_monai(gamma: float, weights: tuple[float, ...] | None) -> None:
    logits, labels = a_batch()
    one_hot = F.one_hot(labels, CLASSES).movedim(-1, 1)
    monai = FocalLoss(gamma=gamma, weight=weights, use_softmax=True, reduction="none")
    expected = monai(logits, one_hot).sum(1).mean()
    loss = make_loss(section("focal", focal_gamma=gamma, class_weights=weights), some_classes())
    torch.testing.assert_close(loss(logits, labels), expected)


def test_focal_with_gamma_zero_is_the_cross_entropy() -> None:
    logits, labels = a_batch()
    loss = make_loss(section("focal", focal_gamma=0.0), some_classes())
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize("batch_dice", [False, True])
def test_dice_term_of_a_hand_made_patch(batch_dice: bool) -> None:
    # Two of four voxels are class 1, softmax says one half everywhere: the intersection is 1,
    # the two areas are 2 and 2, so soft dice = (2·1 + 1) / (2 + 2 + 1) with smoothing 1.
    labels = torch.tensor([[[1, 1], [0, 0]]])
    logits = torch.zeros(1, 2, 2, 2)
    settings = section("dice_cross_entropy", batch_dice=batch_dice)
    loss = make_loss(settings, some_classes(2))
    assert loss(logits, labels).item() == pytest.approx(math.log(2) + 1 - 3 / 5)


@pytest.mark.parametrize("batch_dice", [False, True])
def test_an_empty_patch_costs_its_cross_entropy_alone(batch_dice: bool) -> None:
    logits, labels = a_batch()
    labels[:] = 0
    settings = section("dice_cross_entropy", batch_dice=batch_dice)
    loss = make_loss(settings, some_classes())
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))


def test_hard_cross_entropy_of_a_hand_made_patch() -> None:
    # One foreground voxel of four costs a, of the background voxels the hardest costs b, two c.
    labels = torch.tensor([[[1, 0], [0, 0]]])
    logits = torch.tensor([[[[0.0, 0.0], [2.0, 2.0]], [[1.0, 3.0], [0.0, 0.0]]]])
    a, b, c = (math.log1p(math.exp(x)) for x in (-1.0, 3.0, -2.0))
    settings = section("dice_hard_cross_entropy", hardest_share=0.25)
    usual = make_loss(section("dice_cross_entropy"), some_classes(2))
    loss = make_loss(settings, some_classes(2))
    extra = loss(logits, labels) - usual(logits, labels)
    assert F.cross_entropy(logits, labels).item() == pytest.approx((a + b + 2 * c) / 4)
    assert extra.item() == pytest.approx(0.5 * a + 0.5 * b, abs=1e-5)


def test_the_hardest_are_a_share_of_the_background_of_each_patch() -> None:
    # Of 4 background voxels the hardest half costs (d + c) / 2, of 2 the harder one a; a patch
    # without background has no part in the mean. What is ignored makes the shares no larger.
    told = torch.tensor([[0, 0, 0, 0], [0, 0, IGNORE, 1], [1, 1, 1, 1]])
    odds = torch.tensor([[-2.0, -1.0, 0.5, 1.0], [2.0, 1.0, 9.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    labels, logits = told.unsqueeze(1), torch.stack([torch.zeros_like(odds), odds], 1).unsqueeze(2)
    each = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").squeeze(1)
    foreground = (each[1, 3] + each[2].mean()) / 2
    hardest = ((each[0, 2] + each[0, 3]) / 2 + each[1, 0]) / 2
    loss = make_loss(section("dice_hard_cross_entropy", hardest_share=0.5), some_classes(2))
    usual = make_loss(section("dice_cross_entropy"), some_classes(2))
    extra = loss(logits, labels) - usual(logits, labels)
    torch.testing.assert_close(extra, 0.5 * foreground + 0.5 * hardest)


def test_dice_is_that_of_the_regions_not_of_the_classes() -> None:
    # Class 1 is taken for class 2 everywhere: the union of both is perfect, each alone is nothing.
    labels = torch.ones(1, 8, 8, dtype=torch.int64)
    logits = torch.zeros(1, 3, 8, 8)
    logits[:, 2] = 50.0
    one = Classes(("background", "a", "b"), (0, 1, 2), {"foreground": (1, 2)})
    settings = section("dice_cross_entropy")
    dice_term = make_loss(settings, one)(logits, labels) - F.cross_entropy(logits, labels)
    assert dice_term.item() == pytest.approx(0.0, abs=1e-4)


def test_weights_from_frequencies_rise_with_rarity() -> None:
    weights = frequency_weights((900, 90, 10), exponent=1.0)
    assert weights[1] / weights[0] == pytest.approx(10, rel=1e-2)
    assert weights[2] / weights[0] == pytest.approx(90, rel=1e-2)
    assert sum(weights) == pytest.approx(3, abs=1e-3)
    assert frequency_weights((5, 0), exponent=1.0) == (1.0, 1.0)


def test_unknown_names_and_wrong_weight_counts_are_named() -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'focal'"):
        section("vocal")
    with pytest.raises(RecipeError, match=r"3 values, but there are 2 classes"):
        make_loss(section("focal", class_weights=(1.0, 1.0, 1.0)), some_classes(2))


def test_a_section_that_nothing_builds_says_what_to_register() -> None:
    recorded = RecordedLossSection(name="mine")
    with pytest.raises(RecipeError, match=r"'mine' has no builder .*@loss.*cross_entropy, focal"):
        make_loss(recorded, some_classes(2))
