import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rareseg.data.store.store import Store
from rareseg.errors import RecipeError, UsageError
from rareseg.recipe import AugmentationSection, make_recipe
from rareseg.sampling.augmentation.augment import (
    LARGEST_MARGIN,
    AugmentationPlan,
    apply_plan,
    augment,
    draw_plan,
    window_for,
)
from rareseg.sampling.augmentation.warp import make_pull
from rareseg.sampling.sampler import PatchSampler
from rareseg_runner.image_records import IGNORE

NAMES = (
    "mirror",
    "rotate",
    "scale",
    "crop",
    "elastic",
    "brightness",
    "contrast",
    "gamma",
    "noise",
    "blur",
    "low_resolution",
    "occlusion",
)
OFF = AugmentationSection(**dict.fromkeys(NAMES, 0))
ALWAYS = AugmentationSection(**dict.fromkeys(NAMES, 1), elastic_shift=2.0, elastic_spacing=8.0)


def a_batch(dimension: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of two channels with values of their own, and a block of labels off the centre."""
    labels = torch.zeros((3, *(side,) * dimension), dtype=torch.int64)
    labels[(slice(None), *(slice(4, 8),) * dimension)] = 2
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((3, 2, *(side,) * dimension), generator=generator)
    return images, labels


def drawn(settings: AugmentationSection, patches: int, *patch_size: int) -> AugmentationPlan:
    generator = torch.Generator().manual_seed(0)
    return draw_plan(settings, patches=patches, patch_size=patch_size, generator=generator)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_neutral_plan_changes_nothing(dimension: int) -> None:
    images, labels = a_batch(dimension)
    new_images, new_labels = augment(images, labels, OFF, seed=3)
    assert torch.equal(new_images, images)
    assert torch.equal(new_labels, labels)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_neutral_plan_cuts_the_middle_of_a_larger_window(dimension: int) -> None:
    images, labels = a_batch(dimension)
    size = (8, 12, 16)[-dimension:]
    new_images, new_labels = augment(images, labels, OFF, seed=3, patch_size=size)
    middle = tuple(slice((16 - side) // 2, (16 + side) // 2) for side in size)
    assert torch.equal(new_images, images[(..., *middle)])
    assert torch.equal(new_labels, labels[(..., *middle)])


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_same_seed_changes_alike_and_another_differently(dimension: int) -> None:
    images, labels = a_batch(dimension)
    first, second, other = (augment(images, labels, ALWAYS, seed=s) for s in (5, 5, 6))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_a_plan_can_be_carried_out_again() -> None:
    images, labels = a_batch(2)
    plan = drawn(ALWAYS, 3, 16, 16)
    first, second = apply_plan(images, labels, plan), apply_plan(images, labels, plan)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    other = apply_plan(images, labels, replace(plan, seed=plan.seed + 1))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dimension", [2, 3])
def test_each_item_alone_changes_images_and_only_those_in_space_labels(
    name: str, dimension: int
) -> None:
    images = torch.cat([a_batch(dimension)[0]] * 4)
    labels = (5 * images[:, 0]).long()
    before = images.clone(), labels.clone()
    settings = OFF.model_copy(update={name: 1.0, "elastic_shift": 3.0, "elastic_spacing": 8.0})
    new_images, new_labels = augment(images, labels, settings, seed=2)
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert not torch.equal(new_images, images)
    in_space = name in ("mirror", "rotate", "scale", "crop", "elastic")
    assert torch.equal(new_labels, labels) != in_space


@given(
    seed=st.integers(0, 2**32),
    dimension=st.sampled_from([2, 3]),
    votes=st.booleans(),
    ignores=st.booleans(),
)
def test_labels_never_get_a_value_that_was_not_there(
    seed: int, dimension: int, votes: bool, ignores: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = 7 * torch.randint(0, 4, (2, *(8,) * dimension), generator=generator)
    settings = ALWAYS.model_copy(
        update={"labels": "votes" if votes else "nearest", "occlusion_ignores": ignores}
    )
    _, changed = augment(labels.unsqueeze(1).float(), labels, settings, seed=seed)
    assert set(changed.unique().tolist()) <= {0, 7, 14, 21, IGNORE}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_types_stay(dtype: torch.dtype) -> None:
    images, labels = a_batch(2)
    new_images, new_labels = augment(images, labels.to(dtype), ALWAYS, seed=0)
    assert new_images.dtype == torch.float32
    assert new_labels.dtype == dtype


def test_ignored_voxels_stay_ignored() -> None:
    images, labels = a_batch(2)
    labels[:] = IGNORE
    _, new_labels = augment(images, labels, ALWAYS, seed=0)
    assert (new_labels == IGNORE).all()


def test_an_empty_batch_passes() -> None:
    images, labels = torch.zeros(0, 2, 12, 12), torch.zeros(0, 12, 12, dtype=torch.int64)
    new_images, new_labels = augment(images, labels, ALWAYS, seed=0, patch_size=(8, 8))
    assert new_images.shape == (0, 2, 8, 8)
    assert new_labels.shape == (0, 8, 8)


@pytest.mark.parametrize(
    ("window", "patch"), [((8, 8), (10, 8)), ((9, 8), (8, 8)), ((8, 8, 8), (8, 8))]
)
def test_a_window_that_does_not_fit_is_refused(
    window: tuple[int, ...], patch: tuple[int, ...]
) -> None:
    images, labels = torch.zeros(1, 1, *window), torch.zeros(1, *window, dtype=torch.uint8)
    with pytest.raises(UsageError, match="window_for"):
        augment(images, labels, OFF, seed=0, patch_size=patch)


class TestTheParametersDrawn:
    MANY = 4000

    @pytest.fixture(params=[(16, 12), (8, 16, 12)])
    def plan(self, request: pytest.FixtureRequest) -> AugmentationPlan:
        return drawn(ALWAYS, self.MANY, *request.param)

    def test_they_are_evenly_distributed_up_to_their_strength(self, plan: AugmentationPlan) -> None:
        settings = ALWAYS
        grow, bend = math.log1p(settings.scale_range), math.log1p(settings.gamma_range)
        turn = math.radians(settings.rotate_degrees)
        for values, low, high in (
            (plan.angles[:, 0], -turn, turn),
            (plan.angles[:, -1], -turn, turn),
            (plan.scale.log(), -grow, grow),
            (plan.gamma.log(), -bend, bend),
            (plan.brightness, -settings.brightness_range, settings.brightness_range),
            (plan.contrast, 1 - settings.contrast_range, 1 + settings.contrast_range),
            (plan.noise, 0, settings.noise_level),
            (plan.blur, 0.3, settings.blur_sigma),
            (plan.resolution, settings.low_resolution_share, 1),
            (plan.hidden[:, 1, 1] - plan.hidden[:, 1, 0], 0, settings.occlusion_share),
        ):
            even = stats.uniform(low, high - low)
            assert stats.kstest(values.double().numpy(), even.cdf).pvalue > 1e-4

    def test_axes_and_items_are_drawn_apart(self, plan: AugmentationPlan) -> None:
        columns = [
            plan.angles[:, -1],
            plan.scale,
            plan.gamma,
            plan.contrast,
            plan.brightness,
            plan.noise,
            plan.hidden[:, 0, 0],
            plan.hidden[:, 1, 0],
            plan.shift[:, 0],
            plan.shift[:, 1],
            plan.elastic.flatten(1)[:, 0],
        ]
        together = torch.corrcoef(torch.stack(columns)) - torch.eye(len(columns))
        assert together.abs().max() < 5 / math.sqrt(self.MANY)

    def test_shifts_are_whole_voxels_up_to_their_share(self, plan: AugmentationPlan) -> None:
        largest = torch.tensor([round(0.2 * side) for side in plan.patch_size])
        assert torch.equal(plan.shift, plan.shift.round())
        assert torch.equal(plan.shift.abs().amax(0), largest.float())

    def test_a_hidden_box_lies_within_the_patch(self, plan: AugmentationPlan) -> None:
        assert plan.hidden.min() >= 0
        assert plan.hidden.max() <= 1 + 1e-6

    def test_no_control_point_moves_further_than_allowed(self, plan: AugmentationPlan) -> None:
        assert 1.8 < plan.elastic.abs().max() <= 2.0

    @pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
    def test_each_applies_as_often_as_asked(self, probability: float) -> None:
        settings = ALWAYS.model_copy(update=dict.fromkeys(NAMES, probability))
        plan = drawn(settings, self.MANY, 16, 16)
        counts = (
            plan.mirror[:, 0].sum(),
            plan.mirror[:, 1].sum(),
            (plan.angles != 0).any(1).sum(),
            (plan.scale != 1).sum(),
            (plan.elastic != 0).flatten(1).any(1).sum(),
            (plan.gamma != 1).sum(),
            (plan.contrast != 1).sum(),
            (plan.brightness != 0).sum(),
            (plan.noise > 0).sum(),
            (plan.blur > 0).sum(),
            (plan.resolution < 1).sum(),
            (plan.hidden[..., 1] > 0).all(1).sum(),
        )
        for count in counts:
            assert stats.binomtest(int(count), self.MANY, probability).pvalue > 1e-5


class TestTheWindow:
    def test_it_is_the_patch_where_nothing_moves(self) -> None:
        settings = ALWAYS.model_copy(
            update={"rotate": 0, "scale": 0, "elastic": 0, "crop": 0, "mirror": 1}
        )
        assert window_for(settings, (7, 8)) == (7, 8)

    def test_a_quarter_turn_swaps_the_sides(self) -> None:
        settings = OFF.model_copy(update={"rotate": 1, "rotate_degrees": 90})
        # From its middle the patch reaches 9.5 and 10 voxels, at most 13.8 when turned: 5 and 4
        # more, where a fifth of the side allows 4.
        assert window_for(settings, (20, 21)) == (28, 29)
        assert window_for(settings, (60, 20)) == (64, 28)

    def test_scale_shift_and_displacement_add_up(self) -> None:
        def window(**values: float) -> tuple[int, ...]:
            return window_for(OFF.model_copy(update=values), (21, 41))

        assert window(scale=0.1, scale_range=0.1) == (23, 45)
        assert window(crop=0.1, crop_shift=0.1) == (25, 49)
        assert window(elastic=0.1, elastic_shift=3.0) == (27, 47)
        assert window(scale=1, scale_range=0.1, crop=1, crop_shift=0.1) == (27, 53)

    @given(
        sides=st.lists(st.integers(1, 40), min_size=2, max_size=3),
        degrees=st.floats(0, 180),
        grow=st.floats(0, 0.9),
        crop=st.floats(0, 1),
        seed=st.integers(0, 2**32),
    )
    def test_it_holds_all_that_is_drawn_or_is_as_large_as_allowed(
        self, sides: list[int], degrees: float, grow: float, crop: float, seed: int
    ) -> None:
        settings = ALWAYS.model_copy(
            update={"rotate_degrees": degrees, "scale_range": grow, "crop_shift": crop}
        )
        window = window_for(settings, sides)
        generator = torch.Generator().manual_seed(seed)
        plan = draw_plan(settings, patches=4, patch_size=sides, generator=generator)
        pull = make_pull(plan, window)
        ends = torch.cartesian_prod(*(torch.tensor([0.0, side - 1]) for side in sides))
        corners = ends @ pull.matrix[:, :, :-1].transpose(1, 2) + pull.matrix[:, None, :, -1]
        bends = torch.zeros(4, len(sides))
        bends[pull.bent >= 0] = pull.bend.flatten(2).abs().amax(2)
        for axis, (side, inner) in enumerate(zip(window, sides, strict=True)):
            assert side >= inner
            assert (side - inner) % 2 == 0
            largest = int(LARGEST_MARGIN * inner + 1e-6)
            assert side <= inner + 2 * largest
            if side < inner + 2 * largest:
                lowest = corners[..., axis].amin(1) - bends[:, axis]
                highest = corners[..., axis].amax(1) + bends[:, axis]
                assert lowest.min() >= -1e-3
                assert highest.max() <= side - 1 + 1e-3

    @pytest.mark.parametrize(("sides", "most"), [((64, 64), 2e-4), ((32, 32, 32), 2e-3)])
    def test_at_the_default_strengths_hardly_anything_lies_outside(
        self, sides: tuple[int, ...], most: float
    ) -> None:
        settings = OFF.model_copy(update={"rotate": 0.5, "scale": 0.5})
        window = window_for(settings, sides)
        labels = torch.zeros((200, *window), dtype=torch.uint8)
        _, taken = augment(labels.unsqueeze(1).float(), labels, settings, seed=0, patch_size=sides)
        assert (taken == IGNORE).float().mean() < most


@pytest.mark.parametrize("border", ["reflect", "shift"])
def test_what_is_delivered_is_counted_after_augmentation(flat_store: Store, border: str) -> None:
    settings, size = ALWAYS.model_copy(update={"elastic": 0}), (8, 10)
    sampler = PatchSampler(
        flat_store,
        patch_size=size,
        cut_size=window_for(settings, size),
        batch_size=12,
        seed=0,
        border=border,
    )
    delivered = torch.zeros(256, dtype=torch.int64)
    for batch in itertools.islice(sampler, 3):
        images, labels = augment(
            batch.images, batch.class_indices, settings, patch_size=size, seed=batch.number
        )
        assert images.shape == (12, 2, *size)
        sampler.recount(batch, labels)
        delivered += torch.bincount(labels.flatten(), minlength=256)
    report = sampler.delivered()
    assert (*report.voxels, report.ignored) == (*delivered[:3].tolist(), int(delivered[IGNORE]))
    assert sum(report.voxels) + report.ignored == 3 * 12 * 80


def test_a_displacement_that_could_fold_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"fold a patch over itself.*at most 8 is"):
        make_recipe({"augmentation": {"elastic_shift": 10, "elastic_spacing": 20}})
