"""The loss by component: by hand, against a plain reckoning voxel by voxel, and in the loop."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from scipy.spatial.distance import cdist
from torch import Tensor

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg.prediction.networks import build_network
from rareseg.recipe import Recipe, make_recipe
from rareseg.sampling.augmentation.augment import window_for
from rareseg.sampling.patches.window_components import Components, components_in
from rareseg.sampling.sampler import PatchSampler
from rareseg.training.loop import TrainingResult, fit
from rareseg.training.losses import ComponentLoss, make_loss, training_loss
from rareseg.training.losses.component_cells import find_cells
from rareseg.training.losses.component_loss import by_component
from rareseg.training.validation import ValidationResult
from rareseg_runner.image_records import IGNORE, Classes

ONE = ((1,),)
SEVERAL = ((1, 2), (1,), (2,))
LN2 = math.log(2)


def row(*labels: int) -> Tensor:
    """Return a patch of one row."""
    return torch.tensor(labels)[None, None]


def log_odds(*odds: float) -> Tensor:
    """Return logits (1, 2, 1, n) with these log-odds of the only class."""
    values = torch.tensor(odds, dtype=torch.float64)
    return torch.stack([torch.zeros_like(values), values])[None, :, None]


def nothing_said(labels: Tensor, classes: int = 2) -> Tensor:
    return torch.zeros((len(labels), classes, *labels.shape[1:]), dtype=torch.float64)


# One voxel, and four: its cell are the first three voxels, that of the four the other eight.
SMALL_AND_LARGE = row(1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0)
DICE_OF_SMALL = 1 - 2 * 0.5 / (1.5 + 1)
DICE_OF_LARGE = 1 - 2 * 2 / (4 + 4)


def test_cells_hold_the_voxels_that_are_nearest() -> None:
    cells = find_cells(components_in(SMALL_AND_LARGE, ONE), 0)
    assert cells is not None
    assert cells.cell[0, 0].tolist() == [0] * 3 + [1] * 8
    assert cells.whole.tolist() == [1, 4]
    assert cells.row.tolist() == [0, 0]


def test_a_small_component_weighs_as_much_as_a_large_one() -> None:
    labels = SMALL_AND_LARGE
    value = by_component(nothing_said(labels), labels, components_in(labels, ONE), ONE)
    assert value.item() == pytest.approx((DICE_OF_SMALL + DICE_OF_LARGE) / 2 + LN2)


def test_to_miss_a_small_one_costs_what_it_costs_to_miss_a_large_one() -> None:
    """In dice, by which they are found; the cross-entropy is a mean over cells as large."""
    labels = row(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1)
    right = torch.where(labels[0, 0] == 1, 20.0, -20.0)
    components = components_in(labels, ONE)

    def missed(at: slice) -> float:
        odds = right.clone()
        odds[at] = -1.0
        return by_component(log_odds(*odds.tolist()), labels, components, ONE).item()

    said = 1 / (1 + math.e)
    cross_entropy = math.log1p(math.e) / 8
    dice = 1 - 2 * said / (said + 1)
    assert missed(slice(3, 4)) == pytest.approx((dice + cross_entropy) / 2, abs=1e-5)
    assert missed(slice(12, 16)) == pytest.approx((dice + 4 * cross_entropy) / 2, abs=1e-5)


def test_a_component_that_is_half_inside_weighs_half() -> None:
    labels = SMALL_AND_LARGE
    components = components_in(labels, ONE)
    components = replace(components, whole=torch.tensor([0, 1, 8]))
    value = by_component(nothing_said(labels), labels, components, ONE)
    expected = (DICE_OF_SMALL + 0.5 * DICE_OF_LARGE) / 1.5 + LN2
    assert value.item() == pytest.approx(expected)


def test_the_other_half_is_plain_cross_entropy() -> None:
    labels, logits = row(0, 0, 1, 1), log_odds(-2, 1, 1, 1)
    components = replace(components_in(labels, ONE), whole=torch.tensor([0, 4]))
    low, high = 1 / (1 + math.exp(2)), 1 / (1 + math.exp(-1))
    dice = 1 - 2 * 2 * high / (low + 3 * high + 2)
    plain = F.cross_entropy(logits, labels).item()
    value = by_component(logits, labels, components, ONE)
    # Its cell is the patch: dice counts half, and the cross-entropy of the patch as a whole.
    assert value.item() == pytest.approx(0.5 * (dice + plain) + 0.5 * plain)


def test_a_magnified_component_is_measured_against_its_magnified_whole() -> None:
    labels, logits = row(0, 0, 1, 1), log_odds(-2, 1, 1, 1)
    once = replace(components_in(labels, ONE), whole=torch.tensor([0, 4]))
    twice = replace(
        components_in(labels, ONE),
        whole=torch.tensor([0, 2]),
        magnified=torch.tensor([2.0], dtype=torch.float64),
    )
    assert torch.equal(*(by_component(logits, labels, one, ONE) for one in (once, twice)))


def test_nothing_weighs_more_than_a_whole_one() -> None:
    labels, logits = row(0, 0, 1, 1), log_odds(-2, 1, 1, 1)
    whole = components_in(labels, ONE)
    smaller = replace(whole, whole=torch.tensor([0, 1]))
    assert torch.equal(*(by_component(logits, labels, one, ONE) for one in (whole, smaller)))


def test_a_patch_without_a_component_costs_plain_cross_entropy() -> None:
    labels = torch.cat([row(0, 0, 0, 0), row(0, 1, 1, 0)])
    logits = torch.cat([log_odds(-1, 0, 1, 2), log_odds(0, 0, 0, 0)])
    value = by_component(logits, labels, components_in(labels, ONE), ONE)
    dice = 1 - 2 * 1 / (2 + 2)
    expected = (F.cross_entropy(logits[:1], labels[:1]).item() + dice + LN2) / 2
    assert value.item() == pytest.approx(expected)


def test_what_is_falsely_on_counts_in_the_cell_of_the_nearest_however_far() -> None:
    """With log-odds of 0 at one voxel, and everything else right."""
    right = [20.0 if label else -20.0 for label in SMALL_AND_LARGE[0, 0].tolist()]
    components = components_in(SMALL_AND_LARGE, ONE)
    for voxel, size, cell in ((2, 1, 3), (3, 4, 8), (10, 4, 8)):
        odds = right.copy()
        odds[voxel] = 0.0
        value = by_component(log_odds(*odds), SMALL_AND_LARGE, components, ONE)
        dice = 1 - 2 * size / (size + 0.5 + size)
        assert value.item() == pytest.approx((dice + LN2 / cell) / 2, abs=1e-5), voxel


def test_regions_that_are_held_count_alike_and_others_not_at_all() -> None:
    classes = Classes(("background", "a", "b"), (0, 1, 2), {})
    labels = row(1, 1, 0, 0)
    logits = nothing_said(labels, classes.count)
    value = by_component(logits, labels, components_in(labels, SEVERAL), SEVERAL)
    # The union has 2/3 everywhere, class a 1/3, and there is no b.
    union = 1 - 2 * (4 / 3) / (8 / 3 + 2) - (math.log(2 / 3) + math.log(1 / 3)) / 2
    a = 1 - 2 * (2 / 3) / (4 / 3 + 2) - (math.log(1 / 3) + math.log(2 / 3)) / 2
    assert value.item() == pytest.approx((union + a) / 2)


def test_what_is_ignored_is_neither_inside_nor_in_the_cell() -> None:
    labels = row(1, 1, 1, 1, 0, 0)
    components = components_in(labels, ONE)
    labels[0, 0, [0, 1, 5]] = IGNORE
    logits = log_odds(5, 5, 1, -1, -1, 5)
    value = by_component(logits, labels, components, ONE)
    high = 1 / (1 + math.exp(-1))
    dice = 1 - 2 * 1 / (high + 2 * (1 - high) + 2)
    plain = (2 * math.log1p(math.exp(-1)) + math.log1p(math.e)) / 3
    assert value.item() == pytest.approx(0.5 * (dice + plain) + 0.5 * plain)


def scattered(space: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Components]:
    """Return logits of three classes, labels, and components of which parts lie elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand((3, *space), generator=generator)
    labels = (chance < 0.06).long() + 2 * ((chance > 0.06) & (chance < 0.1)).long()
    labels[2] = 0
    components = components_in(labels, SEVERAL)
    labels[:, :1] = IGNORE
    extra = torch.randint(0, 6, components.whole.shape, generator=generator)
    shape = (3, 3, *space)
    return (
        2 * torch.randn(shape, generator=generator, dtype=torch.float64),
        labels,
        replace(
            components,
            whole=components.whole + extra,
            magnified=torch.tensor([1.0, 0.8, 1.3], dtype=torch.float64),
        ),
    )


def reckoned_plainly(logits: Tensor, labels: Tensor, components: Components) -> float:
    """Return what the docstring of ``by_component`` says, patch by patch and cell by cell."""
    found = [find_cells(components, region) for region in range(len(SEVERAL))]
    total = []
    for b, truth in enumerate(labels.numpy()):
        said = logits[b].softmax(0).numpy()
        known = truth != IGNORE
        of_truth = np.take_along_axis(said, np.where(known, truth, 0)[None], 0)[0]
        plain = -np.log(of_truth)[known].mean()
        costs = []
        for members, cells in zip(SEVERAL, found, strict=True):
            if cells is None or b not in cells.patches:
                continue
            place = cells.patches.tolist().index(b)
            cost, weight = 0.0, 0.0
            for number in np.flatnonzero(cells.row == place):
                at = known & (cells.cell[place].numpy() == number)
                score, inside = said[list(members)].sum(0)[at], np.isin(truth, members)[at]
                if inside.any():
                    share = min(1.0, inside.sum() / float(cells.whole[number]))
                    dice = 1 - 2 * (score * inside).sum() / (score.sum() + inside.sum())
                    cost += share * (dice - np.log(np.where(inside, score, 1 - score)).mean())
                    weight += share
            costs.append((cost + max(0.0, 1 - weight) * plain) / max(1.0, weight))
        total.append(np.mean(costs) if costs else plain)
    return float(np.mean(total))


@pytest.mark.parametrize("space", [(13, 17), (6, 9, 11)])
def test_it_is_what_its_docstring_says(space: tuple[int, ...]) -> None:
    for seed in range(4):
        logits, labels, components = scattered(space, seed)
        value = by_component(logits, labels, components, SEVERAL)
        assert value.item() == pytest.approx(reckoned_plainly(logits, labels, components))


def test_every_voxel_is_in_the_cell_of_one_of_its_nearest() -> None:
    _, _, components = scattered((5, 8, 9), 2)
    cells = find_cells(components, 0)
    assert cells is not None
    assert cells.patches.tolist() == [0, 1]
    for place, b in enumerate(cells.patches.tolist()):
        own = components.component[components.pieces[b].long(), 0].numpy()
        cell = cells.cell[place].numpy()
        every = np.argwhere(np.ones_like(cell))
        nearest = cdist(every, np.argwhere(own > 0)).min(1)
        for number in np.unique(cell):
            inside = np.unique(own[(cell == number) & (own > 0)])
            assert len(inside) == 1, "a cell is of one component"
            to_own = cdist(every, np.argwhere(own == inside[0])).min(1)
            at = cell.ravel() == number
            np.testing.assert_allclose(to_own[at], nearest[at])
            assert cells.whole[number] == pytest.approx(
                float(components.whole[inside[0]] * components.magnified[b])
            )


@pytest.mark.parametrize("space", [(4, 5), (3, 4, 3)])
def test_its_gradient_is_that_of_finite_differences(space: tuple[int, ...]) -> None:
    logits, labels, components = scattered(space, 7)
    labels[0, -1, -1], labels[1, -1, 0] = 1, 2
    settings = make_recipe({"loss": {"name": "component_dice_cross_entropy"}}).loss
    loss = make_loss(settings, Classes(("bg", "a", "b"), (0, 1, 2), {"a": (1,), "b": (2,)}))
    assert isinstance(loss, ComponentLoss)
    components = replace(components_in(labels, loss.regions), magnified=components.magnified * 1.7)
    assert torch.autograd.gradcheck(
        lambda given: loss(given, labels, components), logits.requires_grad_(), fast_mode=True
    )


def test_components_reach_the_loss_that_reads_them_beside_a_presence_head_or_without() -> None:
    classes = Classes(("background", "spot"), (0, 1), {"spot": (1,)})
    labels = SMALL_AND_LARGE
    logits = nothing_said(labels).float()
    of_image = replace(components_in(labels, ONE), whole=torch.tensor([0, 1, 8]))
    by, usual = (
        make_loss(make_recipe({"loss": {"name": name}}).loss, classes)
        for name in ("component_dice_cross_entropy", "dice_hard_cross_entropy")
    )
    expected = usual(logits, labels) + by_component(logits, labels, of_image, ONE)
    torch.testing.assert_close(training_loss(by, logits, labels, components=of_image), expected)
    assert training_loss(by, logits, labels) != expected, "those of the patch are whole"
    torch.testing.assert_close(
        training_loss(usual, logits, labels, components=of_image), usual(logits, labels)
    )


RECIPE = make_recipe(
    {
        "network": {"name": "unet", "width": [4, 8]},
        "loss": {"name": "component_dice_cross_entropy"},
        "sampling": {"patch_size": [16, 16], "batch_size": 4, "strategy": "negatives"},
        "training": {"steps": 40, "learning_rate": 0.02, "validations": 4, "precision": "32"},
    }
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Images with a thing larger than a patch beside one of four pixels, and empty ones."""
    rng = np.random.default_rng(0)
    labels = {name: np.zeros((1, 40, 44), np.uint8) for name in "abcd"}
    for name in "abc":
        labels[name][0, 3:36, 4:14] = 1
        labels[name][0, 8:10, 30:32] = 1
    images = {
        name: (rng.integers(0, 80, (1, 1, 40, 44)) + 150 * label[None]).astype(np.uint8)
        for name, label in labels.items()
    }
    return store_from_arrays(tmp_path_factory.mktemp("loop") / "store", images, labels)


class Killed(Exception):
    pass


def train(
    store: Store, folder: Path, recipe: Recipe, *, until: int = 1000, asked=True
) -> TrainingResult:
    torch.manual_seed(0)

    def on_validation(step: int, score: float) -> None:
        if step >= until:
            raise Killed

    return fit(
        build_network(recipe.network, dimension=2, channels=1, classes=2),
        make_loss(recipe.loss, store.classes),
        PatchSampler.from_settings(
            store,
            recipe.sampling,
            seed=0,
            components=asked,
            patch_size=window_for(recipe.augmentation, recipe.sampling.patch_size),
        ),
        lambda network: ValidationResult(0.0),
        recipe,
        folder,
        fabric=Fabric(accelerator="cpu", devices=1),
        on_validation=on_validation,
    )


def same(left: TrainingResult, right: TrainingResult) -> bool:
    return all(torch.equal(left.weights[key], right.weights[key]) for key in left.weights)


def test_a_resumed_run_ends_as_an_uninterrupted_one(store: Store, tmp_path: Path) -> None:
    whole = train(store, tmp_path / "whole", RECIPE)
    with pytest.raises(Killed):
        train(store, tmp_path / "resumed", RECIPE, until=20)
    assert same(train(store, tmp_path / "resumed", RECIPE), whole)


def test_the_loop_gives_the_loss_the_components_of_whole_images(
    store: Store, tmp_path: Path
) -> None:
    """A patch shows a part of the large thing, whose share is another than that of the patch."""
    values = RECIPE.model_dump()
    values["training"]["steps"] = 4
    steps = make_recipe(values)
    known = train(store, tmp_path / "known", steps)
    of_patches = train(store, tmp_path / "patches", steps, asked=False)
    assert not same(known, of_patches)


def test_it_learns(store: Store, tmp_path: Path) -> None:
    fitted = train(store, tmp_path, RECIPE)
    network = build_network(RECIPE.network, dimension=2, channels=1, classes=2)
    loss = make_loss(RECIPE.loss, store.classes)
    sampler = PatchSampler.from_settings(store, RECIPE.sampling, seed=1, components=True)
    batches = [sampler.batch(number) for number in range(6)]

    def cost() -> float:
        with torch.no_grad():
            outputs = [network.eval()(batch.images) for batch in batches]
            pairs = zip(outputs, batches, strict=True)
            return float(
                np.mean(
                    [training_loss(loss, o, b.labels, components=b.components) for o, b in pairs]
                )
            )

    untrained = cost()
    network.load_state_dict(fitted.weights)
    assert cost() < 0.5 * untrained
