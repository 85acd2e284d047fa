"""The contract of every registered loss, also of one that a user registers.

A check takes the record of a loss and raises AssertionError. All checks run over every registered
loss. Deliberately wrong losses below fail exactly the checks that they break.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rareseg.errors import RecipeError
from rareseg.recipe import LOSS_SECTIONS, LossSection, WeightedLossSection, make_recipe
from rareseg.recipe.loss_sections import FocalSection
from rareseg.training.losses import (
    LossSpec,
    cross_entropy,
    focal,
    loss,
    loss_spec,
    losses,
    make_loss,
    training_loss,
)
from rareseg.training.presence_losses import PresenceOdds
from rareseg_runner.image_records import IGNORE, Classes

SpecOf = LossSpec[Any]
Check = Callable[[SpecOf], None]

ONE = Classes(("background", "spot"), (0, 1), {"spot": (1,)})
UNIONS = Classes(
    ("background", "necrosis", "oedema", "active"),
    (0, 1, 2, 3),
    {"whole": (1, 2, 3), "core": (1, 3), "active": (3,)},
)
MANY = Classes(
    tuple(f"class{k}" for k in range(12)),
    tuple(range(12)),
    {"foreground": tuple(range(1, 12))} | {f"class{k}": (k,) for k in range(1, 12)},
)


def a_batch(
    classes: Classes, space: tuple[int, ...] = (9, 8), *, patches: int = 2, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return float64 logits and labels of all classes, in the last patch of background alone."""
    generator = torch.Generator().manual_seed(seed)
    shape = (patches, classes.count, *space)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes.count, (patches, *space), generator=generator)
    if patches > 1:
        labels[-1] = 0
    return logits, labels


def sure_of(labels: Tensor, classes: int, by: float = 20.0) -> Tensor:
    """Return float64 logits (B, classes, *space) of a network that is sure of ``labels``."""
    return by * F.one_hot(labels, classes).movedim(-1, 1).double()


def gradient(cost: Callable[..., Tensor], logits: Tensor, labels: Tensor) -> Tensor:
    logits = logits.detach().clone().requires_grad_()
    value = cost(logits, labels)
    assert value.shape == ()
    (found,) = torch.autograd.grad(value, logits)
    return found


def changed(settings: LossSection, key: str, classes: Classes) -> Iterator[LossSection]:
    """Yield the section with other values of one setting, by the type that it has."""
    known = [getattr(settings, key)]
    schema = type(settings).model_json_schema()["properties"][key]
    for option in schema.get("anyOf", [schema]):
        for value in _of_type(option, known[0], classes.count):
            values = settings.model_dump() | {key: value}
            try:
                other = make_recipe({"loss": values}).loss
                make_loss(other, classes)
            except RecipeError:  # no value of this setting
                continue
            if getattr(other, key) not in known:
                known.append(getattr(other, key))
                yield other


def _of_type(schema: dict[str, Any], own: Any, count: int) -> Iterator[Any]:
    start = own if isinstance(own, int | float) else 1
    yield from schema.get("enum", ())
    match schema.get("type"):
        case "boolean":
            yield from (True, False)
        case "integer" | "number":
            yield from (2 * start, start / 2, start + 1, start - 1, 0, 0.5)
        case "array":
            yield from ([1 + place / 2 for place in range(n)] for n in (count, count - 1, 2, 3))
        case "null":
            yield None


def keys_of(section: type[LossSection]) -> list[str]:
    return [key for key in section.model_fields if key != "name"]


def variants(spec_: SpecOf, classes: Classes) -> Iterator[LossSection]:
    """Yield the section as it is, and with one setting changed after the other."""
    usual = spec_.section()
    yield usual
    for key in keys_of(spec_.section):
        yield from changed(usual, key, classes)


def costs(
    spec_: SpecOf, *more: Classes
) -> Iterator[tuple[Classes, Callable[[Tensor, Tensor], Tensor]]]:
    """Yield the loss for each of several sets of classes, under each variant of its settings."""
    for classes in (ONE, UNIONS, *more):
        for settings in variants(spec_, classes):
            if settings.presence == spec_.section().presence:  # no part of the loss itself
                yield classes, make_loss(settings, classes)


def near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def check_its_section_stands_in_a_recipe(spec_: SpecOf) -> None:
    """The name alone makes a complete section, and a recipe with it comes back from its values."""
    fields = spec_.section.model_fields.items()
    assert [key for key, field in fields if field.is_required()] == []
    recipe = make_recipe({"loss": {"name": spec_.name}})
    assert recipe.loss == spec_.section()
    assert make_recipe(recipe.model_dump(mode="json")) == recipe


def check_ignored_voxels_cost_nothing(spec_: SpecOf) -> None:
    """Neither the logits in ignored voxels nor the number of such voxels changes the loss."""
    for classes, cost in costs(spec_):
        logits, labels = a_batch(classes)
        labels[:, 2:4] = IGNORE
        ignored = (labels == IGNORE).unsqueeze(1)
        value = cost(logits, labels)
        assert near(cost(torch.where(ignored, 7 * logits.flip(1), logits), labels), value)
        assert not gradient(cost, logits, labels)[ignored.expand_as(logits)].any()
        nothing = torch.full_like(labels, IGNORE)
        assert near(cost(torch.cat([logits] * 2, 2), torch.cat([labels, nothing], 1)), value)
        assert near(cost(torch.cat([logits] * 2), torch.cat([labels, nothing])), value)


def check_everything_ignored_costs_nothing(spec_: SpecOf) -> None:
    for classes, cost in costs(spec_):
        logits, labels = a_batch(classes)
        labels = torch.full_like(labels, IGNORE)
        assert cost(logits, labels) == 0
        assert (gradient(cost, logits, labels) == 0).all()


def check_absent_classes_cost_when_predicted(spec_: SpecOf) -> None:
    """By value, and by a gradient of at least a tenth of the cross-entropy's."""
    for classes, cost in costs(spec_, MANY):
        absent = classes.count - 1
        _, labels = a_batch(classes)
        for truth in (torch.zeros_like(labels), labels % max(1, absent)):
            right = sure_of(truth, classes.count, by=4.0)
            wrong = right.clone()
            place = (0, absent, 5, 5)
            wrong[place] += 12.0
            assert cost(wrong, truth) > cost(right, truth)
            usual = gradient(F.cross_entropy, wrong, truth)
            assert gradient(cost, wrong, truth)[place] >= 0.1 * usual[place] > 0


def check_a_perfect_prediction_costs_least(spec_: SpecOf) -> None:
    for classes, cost in costs(spec_):
        logits, labels = a_batch(classes)
        right = sure_of(labels, classes.count)
        one_wrong = right.clone()
        one_wrong[0, :, 1, 1] *= -1
        for wrong in (
            one_wrong,
            sure_of(torch.zeros_like(labels), classes.count),
            sure_of((labels + 1) % classes.count, classes.count),
            torch.zeros_like(logits),
            logits,
            0.1 * right,
        ):
            assert cost(right, labels) < cost(wrong, labels)


def check_extreme_logits_give_finite_values(spec_: SpecOf) -> None:
    for classes, cost in costs(spec_):
        _, labels = a_batch(classes)
        for said in (labels, torch.zeros_like(labels), (labels + 1) % classes.count):
            for by in (0.0, 30.0, 1e5):
                logits = sure_of(said, classes.count, by=by).float()
                assert cost(logits, labels).isfinite()
                assert gradient(cost, logits, labels).isfinite().all()


def check_bfloat16_logits(spec_: SpecOf) -> None:
    """They cost, in float32, what the same logits cost in float32, and get a finite gradient."""
    for classes, cost in costs(spec_):
        logits, labels = a_batch(classes)
        half = logits.bfloat16().requires_grad_()
        value = training_loss(cost, half, labels)
        assert value.dtype == torch.float32
        assert torch.equal(value, cost(half.detach().float(), labels))
        value.backward()
        assert half.grad is not None
        assert half.grad.isfinite().all()
        assert half.grad.any()


def check_images_volumes_and_batches_of_one(spec_: SpecOf) -> None:
    for classes, cost in costs(spec_):
        for space, patches in itertools.product(((7, 3), (3, 5, 4), (1, 6, 6)), (1, 3)):
            logits, labels = a_batch(classes, space, patches=patches)
            value = cost(logits.float(), labels)
            assert value.shape == ()
            assert value > 0
            assert gradient(cost, logits, labels).any()


def check_gradient_against_finite_differences(spec_: SpecOf) -> None:
    """Against finite differences in float64."""
    for classes, cost in costs(spec_):
        logits, labels = a_batch(classes, (3, 2), seed=1)
        labels[0, 0, 0] = IGNORE
        try:
            torch.autograd.gradcheck(
                cost, (logits.requires_grad_(), labels), atol=1e-6, fast_mode=True
            )
        except RuntimeError as error:  # gradcheck's own, for a gradient that is another
            raise AssertionError(str(error)) from error


def check_every_setting_is_read(spec_: SpecOf) -> None:
    """Each changes what some batch costs, alone or beside a change of another setting."""

    def cost_of(settings: LossSection, seed: int) -> Tensor:
        logits, labels = a_batch(UNIONS, (16, 16), patches=3, seed=seed)
        regions = tuple(UNIONS.regions.values())
        odds = PresenceOdds(logits[:, 1:, ::8, ::8], logits[:, : len(regions)].mean((2, 3)))
        cost = make_loss(settings, UNIONS)
        return training_loss(
            cost, (logits, odds), labels, presence_weight=settings.presence, regions=regions
        )

    for key in keys_of(spec_.section):
        pairs = [
            (base, other)
            for base in variants(spec_, UNIONS)
            for other in changed(base, key, UNIONS)
        ]
        assert pairs, f"{spec_.name}: no other value of {key} is known; see _of_type"
        assert any(
            not torch.equal(cost_of(base, seed), cost_of(other, seed))
            for base, other in pairs
            for seed in range(2)
        ), f"{spec_.name}: nothing reads {key}"


def check_proper_scoring_rule(spec_: SpecOf) -> None:
    """Expected over labels, it is least where the softmax is the probability (times the weight).

    Several voxels at once, each with its own probabilities: a loss that looks at the worst voxels
    alone is proper in one, and in no two.
    """
    if not spec_.proper:
        return
    for classes, voxels in ((ONE, 1), (ONE, 4), (UNIONS, 1), (UNIONS, 3)):
        every = [{}]
        if issubclass(spec_.section, WeightedLossSection):
            every.append({"class_weights": [1.0 + 2 * k for k in range(classes.count)]})
        for weights in every:
            cost = make_loss(make_recipe({"loss": {"name": spec_.name, **weights}}).loss, classes)
            weight = torch.tensor(weights.get("class_weights", [1.0] * classes.count)).double()
            for seed in range(3):
                _require_least_at_the_truth(cost, classes.count, voxels, weight, seed)


def _require_least_at_the_truth(
    cost: Callable[[Tensor, Tensor], Tensor], classes: int, voxels: int, weight: Tensor, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    true = (2 * torch.randn((voxels, classes), generator=generator).double()).softmax(1)
    labels = torch.cartesian_prod(*[torch.arange(classes)] * voxels).reshape(-1, 1, 1, voxels)
    chance = true[torch.arange(voxels), labels.reshape(-1, voxels)].prod(1)

    def expected(logits: Tensor, _: Tensor) -> Tensor:
        image = logits.T.reshape(1, classes, 1, voxels)
        return chance @ torch.stack([cost(image, label) for label in labels])

    truth = (true * weight).log()
    least = expected(truth, truth)
    assert gradient(expected, truth, truth).abs().max() < 1e-6
    for size in (0.1, 1.0):
        step = size * torch.randn(truth.shape, generator=generator).double()
        assert expected(truth + step - step.mean(1, keepdim=True), truth) > least


CHECKS: tuple[Check, ...] = (
    check_its_section_stands_in_a_recipe,
    check_ignored_voxels_cost_nothing,
    check_everything_ignored_costs_nothing,
    check_absent_classes_cost_when_predicted,
    check_a_perfect_prediction_costs_least,
    check_extreme_logits_give_finite_values,
    check_bfloat16_logits,
    check_images_volumes_and_batches_of_one,
    check_gradient_against_finite_differences,
    check_every_setting_is_read,
    check_proper_scoring_rule,
)


def name_of(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", losses())
def test_contract(name: str, check: Check) -> None:
    check(losses()[name])


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered within a test is forgotten after it."""
    monkeypatch.setattr(loss_spec, "_SPECS", dict(loss_spec._SPECS))
    monkeypatch.setattr(LOSS_SECTIONS, "_members", dict(LOSS_SECTIONS._members))


class MineSection(LossSection):
    """A loss of one's own."""

    name: Literal["mine"] = "mine"


def known_class(labels: Tensor) -> Tensor:
    return labels.where(labels != IGNORE, 0)


def blind_to_absent_classes() -> None:
    """Each class against the rest, in the batches that hold it."""

    @loss(MineSection, proper=False)
    def mine(settings, classes):
        def cost(logits, labels):
            counts = (labels != IGNORE).unsqueeze(1)
            held = F.one_hot(known_class(labels), classes.count).movedim(-1, 1) * counts
            each = F.binary_cross_entropy_with_logits(logits, held.to(logits), reduction="none")
            present = held.transpose(0, 1).flatten(1).any(1)
            of_classes = (each * counts).transpose(0, 1).flatten(1).sum(1)
            return (of_classes * present).sum() / counts.sum().clamp(min=1)

        return cost


def takes_ignored_for_background() -> None:
    @loss(MineSection, proper=True)
    def mine(settings, classes):
        return lambda logits, labels: F.cross_entropy(logits, known_class(labels))


def divides_by_ignored_voxels() -> None:
    @loss(MineSection, proper=True)
    def mine(settings, classes):
        def cost(logits, labels):
            return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").mean()

        return cost


def divides_zero_by_zero() -> None:
    """PyTorch's own mean, which is NaN where all is ignored."""

    @loss(MineSection, proper=True)
    def mine(settings, classes):
        return lambda logits, labels: F.cross_entropy(logits, labels, ignore_index=IGNORE)


def has_a_key_that_nothing_reads() -> None:
    class Section(LossSection):
        name: Literal["mine"] = "mine"
        strength: float = 2.0

    @loss(Section, proper=True)
    def mine(settings, classes):
        return make_loss(make_recipe({"loss": {"name": "cross_entropy"}}).loss, classes)


def is_called_proper_and_is_not() -> None:
    class Section(FocalSection):
        name: Literal["mine"] = "mine"  # type: ignore[assignment]

    loss(Section, proper=True)(focal.focal)


def is_proper_in_one_voxel_alone() -> None:
    """The cross-entropy of the worst voxel of each patch."""

    @loss(MineSection, proper=True)
    def mine(settings, classes):
        def cost(logits, labels):
            each = cross_entropy.voxel_cross_entropy(logits, labels).flatten(1)
            usual = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
            held = (labels != IGNORE).flatten(1).any(1)
            worst = each.amax(1).sum() / held.sum().clamp(min=1)
            return worst + usual / (labels != IGNORE).sum().clamp(min=1)

        return cost


def takes_the_logarithm_of_zero() -> None:
    @loss(MineSection, proper=True)
    def mine(settings, classes):
        def cost(logits, labels):
            of_truth = logits.softmax(1).gather(1, known_class(labels).unsqueeze(1)).squeeze(1)
            counts = labels != IGNORE
            return -(of_truth.log() * counts).sum() / counts.sum().clamp(min=1)

        return cost


def detaches_a_term() -> None:
    """A term that is part of the value and not of the gradient."""

    @loss(MineSection, proper=False)
    def mine(settings, classes):
        usual = make_loss(make_recipe({"loss": {"name": "cross_entropy"}}).loss, classes)
        dice = make_loss(make_recipe({"loss": {"name": "dice_cross_entropy"}}).loss, classes)
        return lambda logits, labels: usual(logits, labels) + dice(logits.detach(), labels)


def rewards_uncertainty() -> None:
    @loss(MineSection, proper=False)
    def mine(settings, classes):
        usual = make_loss(make_recipe({"loss": {"name": "cross_entropy"}}).loss, classes)

        def cost(logits, labels):
            counts = labels != IGNORE
            surest = (logits.softmax(1) ** 2).sum(1) * counts
            return usual(logits, labels) + 9 * surest.sum() / counts.sum().clamp(min=1)

        return cost


def fails_on_volumes() -> None:
    @loss(MineSection, proper=True)
    def mine(settings, classes):
        def cost(logits, labels):
            each = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
            number = (labels != IGNORE).sum((0, 1, 2)).clamp(min=1)
            return (each.sum((0, 1, 2)) / number).squeeze()

        return cost


def returns_float64() -> None:
    @loss(MineSection, proper=True)
    def mine(settings, classes):
        usual = make_loss(make_recipe({"loss": {"name": "cross_entropy"}}).loss, classes)
        return lambda logits, labels: usual(logits, labels).double()


WRONG: dict[Callable[[], None], set[Check]] = {
    blind_to_absent_classes: {check_absent_classes_cost_when_predicted},
    takes_ignored_for_background: {
        check_ignored_voxels_cost_nothing,
        check_everything_ignored_costs_nothing,
    },
    divides_by_ignored_voxels: {check_ignored_voxels_cost_nothing},
    divides_zero_by_zero: {check_everything_ignored_costs_nothing},
    has_a_key_that_nothing_reads: {check_every_setting_is_read},
    is_called_proper_and_is_not: {check_proper_scoring_rule},
    is_proper_in_one_voxel_alone: {check_proper_scoring_rule},
    takes_the_logarithm_of_zero: {check_extreme_logits_give_finite_values},
    detaches_a_term: {check_gradient_against_finite_differences},
    rewards_uncertainty: {check_a_perfect_prediction_costs_least},
    fails_on_volumes: {check_images_volumes_and_batches_of_one},
    returns_float64: {check_bfloat16_logits},
}


def fails(check: Check, spec_: SpecOf) -> bool:
    try:
        check(spec_)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_loss_fails_exactly_the_checks_that_it_breaks(registry: None, wrong) -> None:
    wrong()
    assert {name_of(c) for c in CHECKS if fails(c, losses()["mine"])} == {
        name_of(check) for check in WRONG[wrong]
    }


def test_a_setting_without_a_default_is_caught(registry: None) -> None:
    class Section(LossSection):
        name: Literal["mine"] = "mine"
        strength: float

    loss(Section, proper=False)(cross_entropy.cross_entropy)
    with pytest.raises(AssertionError, match="strength"):
        check_its_section_stands_in_a_recipe(losses()["mine"])


def test_the_example_in_contributing_passes_every_check(registry: None) -> None:
    guide = Path(__file__).parents[2] / "CONTRIBUTING.md"
    part = guide.read_text(encoding="utf-8").split("## Add a loss")[1]
    block = part.split("```python\n")[1].split("```")[0]
    exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), {"__name__": "mine"})
    assert make_recipe({"loss": {"epsilon": 2}}).loss.name == "poly1"
    assert [name_of(check) for check in CHECKS if fails(check, losses()["poly1"])] == []


def test_a_section_without_a_name_is_refused(registry: None) -> None:
    class Section(LossSection):
        strength: float = 1.0

    with pytest.raises(RecipeError, match=r"Section has no loss\.name .* name: Literal"):
        loss(Section, proper=False)(focal.focal)
    with pytest.raises(RecipeError, match=r"'focal' is registered twice"):
        loss(type("Other", (FocalSection,), {}), proper=False)(focal.focal)
