"""What every network keeps, by registration alone; and that a wrong one is caught.

Each check takes a network's record and raises AssertionError; a network that somebody registers
before the tests is checked as ours are.
"""

from __future__ import annotations

import copy
import re
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.errors import RecipeError
from rareseg.prediction.networks import (
    NetworkParts,
    NetworkSpec,
    build_network,
    deepest,
    encoder,
    first_weights,
    network,
    networks,
    require_fitting_windows,
    stride,
)
from rareseg.prediction.networks import network_spec as records
from rareseg.prediction.weights.weight_transfer import Transfer, begin_with
from rareseg.recipe import NETWORK_SECTIONS, NetworkSection, make_recipe
from rareseg.training.plan import plan_recipe
from rareseg_runner.image_records import Classes

CHANNELS, CLASSES = 2, 5


def usual(spec: NetworkSpec[Any]) -> NetworkSection:
    """The section of a network as a recipe has it that names the network alone."""
    return make_recipe({"network": {"name": spec.name}}).network


def build(
    settings: NetworkSection, *, dimension: int, seed: int = 0, channels: int = CHANNELS
) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(settings, dimension=dimension, channels=channels, classes=CLASSES)


def dimensions(spec: NetworkSpec[Any]) -> list[int]:
    """2 and 3, less what the network refuses in a sentence of its own."""
    taken, refusals = [], []
    for dimension in (2, 3):
        try:
            with torch.device("meta"):
                build(usual(spec), dimension=dimension)
        except RecipeError as refusal:
            refusals.append(str(refusal))
        else:
            taken.append(dimension)
    assert taken, f"{spec.name} is built neither in 2D nor in 3D: {refusals}"
    assert all("data.dimension" in said for said in refusals), f"{spec.name}: {refusals}"
    return taken


def images(*space: int, batch: int = 2, channels: int = CHANNELS) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *space, generator=generator)


def window(settings: NetworkSection, dimension: int) -> tuple[int, ...]:
    """Two strides, in 2D three of them along the last axis."""
    step = stride(settings)
    return (2 * step,) * (dimension - 1) + ((3 if dimension == 2 else 2) * step,)


def windows(spec: NetworkSpec[Any]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Each dimension with a window for the usual settings."""
    for dimension in dimensions(spec):
        yield dimension, window(usual(spec), dimension)


def variants(spec: NetworkSpec[Any]) -> Iterator[tuple[NetworkSection, int]]:
    """The usual settings in each dimension, and every other value of each in the first of them."""
    taken = dimensions(spec)
    yield from ((usual(spec), dimension) for dimension in taken)
    for key in spec.section.model_fields:
        yield from ((other, taken[0]) for other in others(spec, key, taken[0]))


def others(spec: NetworkSpec[Any], key: str, dimension: int) -> list[NetworkSection]:
    """The usual settings with every other value of one of them that the network takes."""
    settings, found = usual(spec), []
    if key == "name":
        return []
    for value in other_values(spec.section.model_fields[key], getattr(settings, key)):
        try:
            other = spec.section.model_validate({**settings.model_dump(), key: value})
            with torch.device("meta"):
                build(other, dimension=dimension)
        except (ValidationError, RecipeError):
            continue
        found.append(other)
    return found


def answer(module: nn.Module, taken: Tensor, *, training: bool = False) -> Tensor:
    """Return the logits; dropout draws from a seed of its own."""
    torch.manual_seed(2)
    with torch.no_grad():
        logits: Tensor = module.train(training)(taken)
    return logits


def check_shape_and_stride(spec: NetworkSpec[Any]) -> None:
    """Logits for every voxel and class; the deepest features are smaller by the stride, truly."""
    for settings, dimension in variants(spec):
        step = stride(settings)
        assert step >= 1, f"{spec.name}: a stride of {step}"
        module = build(settings, dimension=dimension)
        at, width = deepest(settings)
        seen: list[tuple[int, ...]] = []
        module.get_submodule(at).register_forward_hook(
            lambda _module, _taken, given, seen=seen: seen.append(tuple(given.shape))
        )
        spaces = [window(settings, dimension)]
        if settings == usual(spec):
            spaces.append((step,) * dimension)
        for space in spaces:
            try:
                logits = answer(module, images(*space))
            except Exception as error:
                raise AssertionError(f"{spec.name} does not take {space}: {error}") from error
            assert logits.shape == (2, CLASSES, *space), f"{spec.name} gives {logits.shape}"
            expected = (2, width, *(side // step for side in space))
            assert seen[-1] == expected, f"{spec.name}: deepest is {seen[-1]}, not {expected}"


def check_gradients(spec: NetworkSpec[Any]) -> None:
    """The logits depend on every parameter."""
    for dimension, space in windows(spec):
        module = build(usual(spec), dimension=dimension).train()
        module(images(*space)).square().mean().backward()
        idle = [
            name
            for name, parameter in module.named_parameters()
            if parameter.grad is None or not bool(parameter.grad.isfinite().all())
        ]
        assert not idle, f"{spec.name}: no gradient reaches {idle}"


def check_encoder(spec: NetworkSpec[Any]) -> None:
    """The encoder is exactly what the deepest features depend on, and nothing else."""
    for settings, dimension in variants(spec):
        module = build(settings, dimension=dimension).train()
        inside = [module.get_submodule(part) for part in encoder(settings)]
        at, _ = deepest(settings)
        assert module.get_submodule(at) is inside[-1], f"{spec.name}: {at} is not the encoder's end"
        features: list[Tensor] = []
        inside[-1].register_forward_hook(lambda _m, _t, given, kept=features: kept.append(given))
        module(images(*window(settings, dimension)))
        features[0].square().sum().backward()
        claimed = {id(p) for part in inside for p in part.parameters()}
        names = {id(p): name for name, p in module.named_parameters()}
        needed = {id(p) for p in module.parameters() if p.grad is not None}
        wrong = sorted(names[key] for key in claimed ^ needed)
        assert not wrong, f"{spec.name}: in the encoder, or needed by it, but not both: {wrong}"


def check_settings(spec: NetworkSpec[Any]) -> None:
    """Every value of every setting makes another network: other logits from the same seed."""
    settings = usual(spec)
    dimension, space = next(windows(spec))
    # A multiple of the strides that other settings bring.
    taken = images(*(2 * side for side in space))
    own = answers(settings, taken)
    for key in spec.section.model_fields:
        if key == "name":
            continue
        tried = others(spec, key, dimension)
        assert tried, f"{spec.name}: no other value of network.{key} is known; give it examples"
        found = [own]
        for other in tried:
            given = answers(other, taken)
            same = any(all(map(torch.equal, given, before)) for before in found)
            assert not same, f"{spec.name} ignores network.{key}={getattr(other, key)}"
            found.append(given)


def answers(settings: NetworkSection, taken: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits while training, with random weights and with those to begin with."""
    module = build(settings, dimension=taken.ndim - 2)
    fresh = answer(copy.deepcopy(module), taken, training=True)
    try:
        begin = first_weights(settings, module)
    except RecipeError:  # of a package that is not installed here
        begin = None
    if begin is None:
        return fresh, fresh
    begin_with(module, begin.weights)
    return fresh, answer(module, taken, training=True)


def other_values(info: Any, value: Any) -> list[Any]:
    """Return values that a setting can have beside its own, by its examples or by its type."""
    if info.examples:
        return list(info.examples)
    kinds = list(kinds_of(info.annotation))
    literal = [option for kind in kinds if get_origin(kind) is Literal for option in get_args(kind)]
    found: list[Any] = [option for option in literal if option != value]
    if isinstance(value, bool):
        found.append(not value)
    elif isinstance(value, int):
        found += [value + 1]
    elif isinstance(value, float):
        found += [value + 0.25]
    elif isinstance(value, tuple) and value and all(isinstance(v, int) for v in value):
        found += [(*value[:-1], 2 * value[-1]), (2 * value[0], *value[1:]), value[:-1]]
    if value is not None and type(None) in kinds:
        found.append(None)
    return found


def kinds_of(annotation: Any) -> Iterator[Any]:
    """Return the members of a union, without what annotates them."""
    if get_origin(annotation) is Annotated:
        yield from kinds_of(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from kinds_of(part)
    else:
        yield annotation


def check_repeats(spec: NetworkSpec[Any]) -> None:
    """The same from the same seed and after a round trip; other from another; one image alone."""
    settings = usual(spec)
    for dimension, space in windows(spec):
        taken = images(*space)
        module = build(settings, dimension=dimension).eval()
        logits = answer(module, taken)
        again, other = (build(settings, dimension=dimension, seed=seed).eval() for seed in (0, 1))
        assert torch.equal(answer(again, taken), logits), (
            f"{spec.name}: the seed does not settle it"
        )
        assert not torch.equal(answer(other, taken), logits), f"{spec.name} draws from no generator"
        other.load_state_dict(copy.deepcopy(module.state_dict()))
        assert torch.equal(answer(other, taken), logits), f"{spec.name}: its weights are not all"
        alone = answer(module, taken[:1])
        near = torch.allclose(alone, logits[:1], atol=1e-4, rtol=1e-4)
        assert near, f"{spec.name} answers otherwise for an image alone"


def check_bfloat16(spec: NetworkSpec[Any]) -> None:
    """In bfloat16 the logits are finite, and so are the gradients."""
    settings = usual(spec)
    for dimension in dimensions(spec):
        module = build(settings, dimension=dimension)
        # The smallest window: in 3D a processor that has no bfloat16 takes minutes for more.
        with torch.autocast("cpu", torch.bfloat16):
            logits = answer(module, images(*(stride(settings),) * dimension))
        assert bool(logits.isfinite().all()), f"{spec.name}: not finite in bfloat16"
    dimension, space = next(windows(spec))
    module = build(settings, dimension=dimension).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(images(*space))
    logits.float().square().mean().backward()
    grown = [p.grad for p in module.parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in grown), f"{spec.name}: gradients not finite"


def check_first_weights(spec: NetworkSpec[Any]) -> None:
    """Weights to begin with fit networks of any number of channels, and are really taken."""
    settings = usual(spec)
    for channels in (1, 2, 3, 4):
        module = build(settings, dimension=dimensions(spec)[0], channels=channels)
        found = first_weights(settings, module)
        if found is None:
            return
        assert not found.unlike, f"{spec.name}, {channels} channels: {found.unlike}"
        assert not found.absent, f"{spec.name}, {channels} channels: without {found.absent}"
        assert found.weights.keys() <= module.state_dict().keys(), f"{spec.name}: unknown names"
        begin_with(module, found.weights)
        for name, tensor in module.state_dict().items():
            if name in found.weights:
                assert torch.equal(tensor, found.weights[name]), f"{spec.name}: {name} is not taken"


def fingerprint(dimension: int) -> Fingerprint:
    """Twelve small cases of one channel, each with a little of the one class."""
    shape = (1, 96, 80) if dimension == 2 else (40, 48, 40)
    cases = tuple(
        CaseFacts(
            id=f"case{number}",
            group=None,
            role=None,
            shape=shape,
            spacing=(1.0, 1.0, 1.0),
            dimension=dimension,
            channels=1,
            dtype="uint8",
            voxels=(shape[0] * shape[1] * shape[2] - 50, 50),
            ignored=0,
            intensities=(ChannelFacts(0.0, 50.0, 200.0, 60.0, 10.0),),
            thumbnail_hash=f"{number:08x}",
        )
        for number in range(12)
    )
    classes = Classes(("background", "spot"), (0, 1), {"foreground": (1,)})
    return Fingerprint(cases, classes, (), (), (), "0" * 64)


def check_plan(spec: NetworkSpec[Any]) -> None:
    """Named alone, it is planned for data of its dimensions, with windows that it takes."""
    for dimension in dimensions(spec):
        try:
            recipe = plan_recipe(fingerprint(dimension), {"network": {"name": spec.name}}).recipe
            require_fitting_windows(recipe)
        except RecipeError as refusal:
            raise AssertionError(f"{spec.name} is not planned in {dimension}D: {refusal}") from None
        assert recipe.data.dimension == dimension
        assert type(recipe.network) is spec.section


CHECKS = (
    check_plan,
    check_shape_and_stride,
    check_gradients,
    check_encoder,
    check_settings,
    check_repeats,
    check_bfloat16,
    check_first_weights,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", networks())
def test_every_network_keeps_the_contract(name, check):
    check(networks()[name])


# Networks that are wrong in one way each.


class TinySection(NetworkSection):
    name: Literal["tiny"] = "tiny"
    width: int = 8
    norm: Literal["batch", "group"] = "group"


class Tiny(nn.Module):
    """Halves the image once and doubles it again."""

    def __init__(self, settings: TinySection, *, channels: int, classes: int) -> None:
        super().__init__()
        width = settings.width
        group = settings.norm == "group"
        self.down = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.GroupNorm(1, width) if group else nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.up = nn.ConvTranspose2d(width, classes, 2, stride=2)

    def forward(self, taken: Tensor) -> Tensor:
        logits: Tensor = self.up(self.down(taken))
        return logits


class Deaf(Tiny):
    """Ignores its norm."""

    def __init__(self, settings: TinySection, **others: int) -> None:
        super().__init__(settings.model_copy(update={"norm": "batch"}), **others)


class Idle(Tiny):
    """Has a layer that it never asks."""

    def __init__(self, settings: TinySection, **others: int) -> None:
        super().__init__(settings, **others)
        self.never = nn.Linear(2, 2)


class Cropping(Tiny):
    """Gives a pixel less than it took."""

    def forward(self, taken: Tensor) -> Tensor:
        return super().forward(taken)[..., :-1]


class Unseeded(Tiny):
    """Draws its weights from a generator of its own."""

    drawn = torch.Generator().manual_seed(3)

    def __init__(self, settings: TinySection, **others: int) -> None:
        super().__init__(settings, **others)
        nn.init.normal_(self.up.weight, generator=self.drawn)


class Forgetful(Tiny):
    """Keeps what it computes with out of its weights."""

    def __init__(self, settings: TinySection, **others: int) -> None:
        super().__init__(settings, **others)
        self.register_buffer("scale", torch.rand(1), persistent=False)

    def forward(self, taken: Tensor) -> Tensor:
        return self.scale * super().forward(taken)


class Overflowing(Tiny):
    """Goes through float16, whose range is smaller, where it is asked for bfloat16."""

    def forward(self, taken: Tensor) -> Tensor:
        logits = super().forward(taken)
        if logits.dtype != torch.bfloat16:
            return logits
        return (1e8 * logits).half().to(logits.dtype) / 1e8


class ByTheBatch(Tiny):
    """Lets one image's answer depend on the others."""

    def forward(self, taken: Tensor) -> Tensor:
        return super().forward(taken - taken.mean())


def no_more_than(names: tuple[str, ...], shape: tuple[int, ...]) -> Transfer:
    """Weights to begin with, of which all is well but the names and the shape."""
    weights = {name: torch.zeros(shape) for name in names}
    return Transfer("a test", "0" * 64, weights, unlike={}, absent=(), unused=())


def failures(
    module: type[Tiny], *, step: int = 2, parts: Any = None, begin: Any = None
) -> list[str]:
    """Register a network, and return the names of the checks that it fails."""
    known = parts or (lambda s: NetworkParts(("down",), "down", s.width))

    @network(TinySection, stride=lambda s: step, parts=known, begin=begin)
    def tiny(settings: TinySection, /, *, dimension: int, channels: int, classes: int) -> nn.Module:
        if dimension != 2:
            raise RecipeError(
                "network.name is tiny, but data.dimension is 3; set data.dimension=2."
            )
        return module(settings, channels=channels, classes=classes)

    failed = []
    for check in CHECKS:
        try:
            check(networks()["tiny"])
        except AssertionError:
            failed.append(check.__name__)
    return failed


@pytest.fixture
def _registers_that_forget(monkeypatch):
    monkeypatch.setattr(NETWORK_SECTIONS, "_members", dict(NETWORK_SECTIONS._members))
    monkeypatch.setattr(records, "_SPECS", dict(records._SPECS))


@pytest.mark.usefixtures("_registers_that_forget")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_network_that_contributing_adds_keeps_it_too(check):
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    chapter = page.split("## Add a network\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    # Without this module's future import, under which pydantic could not find the names.
    code = compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True)
    exec(code, {"__name__": "contributing"})
    check(networks()["hourglass"])


class BareSection(NetworkSection):
    """Without a norm."""

    name: Literal["bare"] = "bare"
    width: int = 8


class LayerSection(BareSection):
    """With a norm that is not one of the planner's."""

    name: Literal["layer"] = "layer"  # type: ignore[assignment]
    norm: Literal["layer", "none"] = "layer"


@pytest.mark.usefixtures("_registers_that_forget")
@pytest.mark.parametrize("section", [BareSection, LayerSection])
def test_a_network_without_the_planner_s_norms_is_planned(section):
    @network(section, stride=lambda s: 2, parts=lambda s: NetworkParts(("0",), "0", s.width))
    def odd(settings, /, *, dimension, channels, classes):
        down = nn.Conv2d if dimension == 2 else nn.Conv3d
        up = nn.ConvTranspose2d if dimension == 2 else nn.ConvTranspose3d
        return nn.Sequential(
            down(channels, settings.width, 2, stride=2), up(settings.width, classes, 2, stride=2)
        )

    check_plan(networks()[section.model_fields["name"].default])


@pytest.mark.usefixtures("_registers_that_forget")
class TestWrongNetworksAreCaught:
    def test_one_that_is_right_passes(self):
        assert failures(Tiny) == []

    @pytest.mark.parametrize(
        ("module", "failed"),
        [
            (Deaf, ["check_settings"]),
            (Idle, ["check_gradients"]),
            (Cropping, ["check_shape_and_stride"]),
            (Unseeded, ["check_repeats"]),
            (Forgetful, ["check_repeats"]),
            (ByTheBatch, ["check_repeats"]),
            (Overflowing, ["check_bfloat16"]),
        ],
    )
    def test_a_wrong_module(self, module, failed):
        assert failures(module) == failed

    @pytest.mark.parametrize("step", [1, 4])
    def test_a_wrong_stride(self, step):
        assert failures(Tiny, step=step) == ["check_shape_and_stride"]

    @pytest.mark.parametrize(
        ("parts", "failed"),
        [
            (lambda s: NetworkParts(("down",), "down", 8), ["check_shape_and_stride"]),
            (lambda s: NetworkParts(("down",), "down", s.width + 1), ["check_shape_and_stride"]),
            (lambda s: NetworkParts(("down", "up"), "up", CLASSES), ["check_shape_and_stride"]),
            (lambda s: NetworkParts(("up", "down"), "down", s.width), ["check_encoder"]),
            (lambda s: NetworkParts(("down.0", "down.2"), "down.2", s.width), ["check_encoder"]),
            (lambda s: NetworkParts(("down", "down.0"), "down", s.width), ["check_encoder"]),
        ],
    )
    def test_wrong_parts(self, parts, failed):
        assert failures(Tiny, parts=parts) == failed

    @pytest.mark.parametrize(
        "begun",
        [
            lambda settings, module: no_more_than(("up.bias", "down.8.bias"), (CLASSES,)),
            lambda settings, module: replace(
                no_more_than(("up.bias",), (CLASSES,)), unlike={"down.0.bias": "8 there, 9 here"}
            ),
            lambda settings, module: replace(
                no_more_than(("up.bias",), (CLASSES,)), absent=("down.0.bias",)
            ),
        ],
    )
    def test_weights_to_begin_with_that_do_not_fit(self, begun):
        assert failures(Tiny, begin=begun) == ["check_first_weights"]

    def test_weights_to_begin_with_that_fit(self):
        right = no_more_than(("up.bias",), (CLASSES,))
        assert failures(Tiny, begin=lambda settings, module: right) == []


def test_what_was_registered_for_a_test_is_gone():
    assert not {"tiny", "hourglass"} & {*networks(), *NETWORK_SECTIONS.names}
