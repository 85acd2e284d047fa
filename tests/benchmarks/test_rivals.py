"""What rivals share: the task in a file, the clock, the names of weights, files of scores."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import torch
from rivals import cases, learning, lite_weights, torchvision_operators
from rivals.learning import Progress, cosine, polynomial, progress_of
from rivals.task import Report, RivalTask

from rareseg.data.score_files.probability_files import read_probabilities
from rareseg.errors import UsageError
from rareseg.prediction.encoders.efficientnet_lite import EfficientNetLite
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import Classes

TASK = RivalTask(
    learns=Path("learns.csv"),
    validates=Path("validates.csv"),
    tested=Path("tested.csv"),
    classes=Classes(("background", "a", "b"), (0, 3, 5), {"foreground": (1, 2), "a": (1,)}),
    patch_size=(224, 224),
    batch_size=8,
    seconds=1200.0,
    steps=None,
    seed=3,
    threads=2,
    folder=Path("rival"),
)


@pytest.mark.parametrize("task", [TASK, replace(TASK, validates=None, seconds=None, steps=10)])
def test_a_task_is_read_as_it_was_written(task, tmp_path):
    task.write(tmp_path / "task.json")
    assert RivalTask.read(tmp_path / "task.json") == task


def test_a_report_is_read_as_it_was_written(tmp_path):
    report = Report(10, 61.5, ("one", "two"), {"torch": "2.13.0"})
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report


class Clock:
    """A clock on which every step takes as long as it is told."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


def steps_until_over(progress, clock, each):
    shares = []
    while not progress.over:
        shares.append(progress.share)
        clock.now += each
        progress.made += 1
    return shares


class TestProgress:
    def test_so_many_steps_are_made_whatever_time_they_take(self):
        clock = Clock()
        progress = Progress(4, 0.0, math.inf, clock)
        assert steps_until_over(progress, clock, 1e9) == [0.0, 0.25, 0.5, 0.75]
        assert progress.share == 1.0

    @pytest.mark.parametrize("each", [0.3, 7.0, 60.0])
    def test_the_last_step_ends_in_time_and_the_schedule_with_it(self, each):
        clock = Clock(100.0)
        progress = Progress(None, 100.0, 160.0, clock)
        shares = steps_until_over(progress, clock, each)
        assert 160.0 - each < clock.now <= 160.0 + 1e-9
        assert shares == pytest.approx([each * k / 60 for k in range(len(shares))])

    def test_a_machine_that_slows_down_makes_fewer_steps(self):
        clock = Clock()
        progress = Progress(None, 0.0, 60.0, clock)
        while not progress.over:
            clock.now += 1.0 if clock.now < 20 else 10.0
            progress.made += 1
        assert progress.made < 60
        assert 50.0 < clock.now <= 70.0

    def test_what_follows_is_kept_of_the_budget(self, monkeypatch):
        monkeypatch.setattr(learning.time, "time", lambda: 130.0)
        progress = progress_of(TASK, 100.0, reserve=200.0)
        assert (progress.steps, progress.begins, progress.ends) == (None, 130.0, 1100.0)
        steps = progress_of(replace(TASK, seconds=None, steps=7), 100.0, reserve=200.0)
        assert (steps.steps, steps.share, steps.over) == (7, 0.0, False)

    def test_a_budget_that_is_gone_before_the_first_step_is_refused(self, monkeypatch):
        monkeypatch.setattr(learning.time, "time", lambda: 130.0)
        with pytest.raises(UsageError, match="30 s went into the data and 1180 s are needed"):
            progress_of(TASK, 100.0, reserve=1180.0)


def test_rates_begin_and_end_as_told_and_fall_between():
    shares = np.linspace(0, 1, 11)
    falling = [cosine(s, 2e-4, 1e-5) for s in shares], [polynomial(s, 0.01) for s in shares]
    for rates, (first, last) in zip(falling, [(2e-4, 1e-5), (0.01, 0.0)], strict=True):
        assert (rates[0], rates[-1]) == pytest.approx((first, last))
        assert (np.diff(rates) < 0).all()
    assert cosine(0.5, 2e-4, 1e-5) == pytest.approx((2e-4 + 1e-5) / 2)
    assert polynomial(0.5, 0.01) == pytest.approx(0.01 * 0.5**0.9)


def test_steps_follow_the_progress_and_its_rates():
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    rates, seen = [], []

    def batches():
        while True:
            yield torch.ones(2, 1), torch.zeros(2, 1)

    learning.learn(
        network,
        batches(),
        torch.nn.functional.mse_loss,
        optimizer,
        Progress(4, 0.0, math.inf),
        rate=lambda share: rates.append(share) or 0.1 * (1 - share),
        between=lambda: seen.append(optimizer.param_groups[0]["lr"]),
    )
    assert rates == [0.0, 0.25, 0.5, 0.75]
    assert seen == pytest.approx([0.1, 0.075, 0.05, 0.025])


TIMM_OF_OURS = {
    "stem.conv.weight": "conv_stem.weight",
    "stem.norm.running_var": "bn1.running_var",
    "blocks.0.depthwise.conv.weight": "blocks.0.0.conv_dw.weight",
    "blocks.0.depthwise.norm.bias": "blocks.0.0.bn1.bias",
    "blocks.0.project.conv.weight": "blocks.0.0.conv_pw.weight",
    "blocks.0.project.norm.weight": "blocks.0.0.bn2.weight",
    "blocks.1.expand.conv.weight": "blocks.1.0.conv_pw.weight",
    "blocks.2.expand.norm.weight": "blocks.1.1.bn1.weight",
    "blocks.4.depthwise.conv.weight": "blocks.2.1.conv_dw.weight",
    "blocks.7.depthwise.norm.weight": "blocks.3.2.bn2.weight",
    "blocks.8.project.conv.weight": "blocks.4.0.conv_pwl.weight",
    "blocks.15.project.norm.running_mean": "blocks.6.0.bn3.running_mean",
}
"""As timm numbers the seven stages of one, two, two, three, three, four and one blocks."""


def test_names_of_timm_are_those_of_its_stages_and_units():
    own = EfficientNetLite(lite_weights.NAME, 3).state_dict()
    renamed = lite_weights.to_timm_names(own, lite_weights.NAME)
    assert len(renamed) == len(own)
    for ours, theirs in TIMM_OF_OURS.items():
        assert renamed[theirs] is own[ours]


@pytest.fixture
def timm():
    """The real timm, imported as the rivals import it."""
    try:
        torchvision_operators.declare_missing()
    except ModuleNotFoundError:
        pytest.skip("timm's torchvision is not installed; make test-extras installs both")
    return pytest.importorskip("timm", reason="timm is not installed; make test-extras installs it")


@pytest.mark.extras
def test_the_encoder_of_timm_gives_what_ours_gives(timm):
    theirs = timm.create_model(f"tf_{lite_weights.NAME}", pretrained=False, features_only=True)
    weights = lite_weights.timm_weights()
    theirs.load_state_dict(weights)
    ours = EfficientNetLite(lite_weights.NAME, 3)
    own = ours.state_dict()
    renamed = lite_weights.to_timm_names({name: name for name in own}, lite_weights.NAME)
    ours.load_state_dict({renamed[theirs]: tensor for theirs, tensor in weights.items()})
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pairs = zip(ours.eval()(image), theirs.eval()(image), strict=True)
        for left, right in pairs:
            torch.testing.assert_close(left, right)


def write_volume(path):
    """Write a volume whose file runs against the canonical axes: (z, y, x) = (4, 5, 6)."""
    image = sitk.GetImageFromArray(np.arange(120, dtype=np.float32).reshape(4, 5, 6))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, -1))
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz"])
def test_scores_are_read_back_where_they_belong(name, tmp_path):
    path = tmp_path / name
    if name.endswith(".png"):
        PIL.Image.fromarray(np.arange(42, dtype=np.uint8).reshape(6, 7)).save(path)
    else:
        write_volume(path)
    image = read_image((path,))
    case = SimpleNamespace(id="a", images=(path,))
    loaded = cases.Loaded(case, image, np.zeros(image.array.shape[1:], np.uint8))

    def score(array):
        foreground = (array[0] / 255).astype(np.float32)
        return np.stack([1 - foreground, foreground])

    cases.write_scores(tmp_path / "scores", [loaded], score)
    found = read_probabilities(tmp_path / "scores" / "a.npz", image)
    np.testing.assert_array_equal(found, score(image.array))
