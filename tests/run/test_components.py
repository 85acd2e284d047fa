"""A run looks for the components of its images where its loss reads them, and only there."""

import pytest

from rareseg.sampling import sampler


@pytest.mark.parametrize(
    ("loss", "looks"), [("component_dice_cross_entropy", 1), ("dice_hard_cross_entropy", 0)]
)
def test_components_are_looked_for_where_the_loss_reads_them(
    loss, looks, specks, settings, call, tmp_path, monkeypatch
):
    found = []

    def look(*arguments, **options):
        found.append(map_components(*arguments, **options))
        return found[-1]

    map_components = sampler.map_components
    monkeypatch.setattr(sampler, "map_components", look)
    short = settings(loss__name=loss, training__steps=2)
    called = call("train", specks, "--out", tmp_path / "run", *short)
    assert called.code == 0, called.err
    assert len(found) == looks
    assert all(len(known.whole) > 10 for known in found)
