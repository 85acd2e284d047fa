"""What a watch has found, among the metrics of a service."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytestmark = pytest.mark.extras
prometheus = pytest.importorskip("prometheus_client")
pytest.importorskip("fastapi")

from rareseg.errors import UsageError  # noqa: E402 - after what may be missing
from rareseg.monitoring.watch_state import NAME, WatchState  # noqa: E402
from rareseg.prediction.detector import load  # noqa: E402
from rareseg.run.monitor import monitor  # noqa: E402
from rareseg.serving.service import make_service  # noqa: E402
from rareseg.serving.service_metrics import Metrics  # noqa: E402
from rareseg.serving.service_options import ServiceOptions  # noqa: E402


@pytest.fixture(scope="module")
def watch(bright, tmp_path_factory):
    import PIL.Image

    place, rng = tmp_path_factory.mktemp("watch"), np.random.default_rng(0)
    for name, n in (("reference", 30), ("stream", 12)):
        (place / name).mkdir()
        for k in range(n):
            image = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            PIL.Image.fromarray(image).save(place / name / f"{k}.png")
    out = place / "watch"
    report = monitor(bright, place / "stream", out, reference=place / "reference")
    return out, report


def told(metrics: Metrics) -> dict[str, float]:
    lines = metrics.text().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_the_state_is_exported_as_it_is(watch):
    out, report = watch
    found = told(Metrics(out))
    assert found["rareseg_watch_readable"] == 1
    assert found['rareseg_watch_groups{part="stream"}'] == 12
    assert found['rareseg_watch_groups{part="reference"}'] == 30
    test = report.content.test
    for feature in test.features:
        labels = f'{{feature="{feature.name}",region="{feature.region or "images"}"}}'
        assert found[f"rareseg_watch_changed{labels}"] == 0
        evidence = math.exp(test.highest(feature))
        assert found[f"rareseg_watch_evidence{labels}"] == pytest.approx(evidence)


def test_without_a_watch_nothing_is_told_of_one():
    assert not any("watch" in name for name in told(Metrics()))


def test_a_state_that_is_gone_is_said(tmp_path):
    found = told(Metrics(tmp_path))
    assert [name for name in found if "watch" in name] == ["rareseg_watch_readable"]
    assert found["rareseg_watch_readable"] == 0


def test_the_watch_of_another_model_and_none_are_refused(bright, watch, tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        make_service(ServiceOptions(bright, watch=tmp_path))
    with WatchState(tmp_path / NAME) as state:
        state.note("watched", {"weights": "another"})
    with pytest.raises(UsageError, match="watches another model"):
        make_service(ServiceOptions(bright, watch=tmp_path))
    service = make_service(ServiceOptions(bright, watch=watch[0]))
    assert service.detector.model.digest == load(bright).model.digest


def test_workers_are_told_of_the_watch(bright, watch):
    options = ServiceOptions(bright, watch=watch[0])
    assert ServiceOptions.from_json(options.to_json()) == options
    assert ServiceOptions.from_json(ServiceOptions(bright).to_json()).watch is None
