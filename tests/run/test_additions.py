"""What CONTRIBUTING.md adds is known to the command line; a name that nobody added is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rareseg
from rareseg.recipe import read_overrides

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def block_of(chapter: str) -> str:
    """The Python block of a chapter of CONTRIBUTING.md."""
    text = GUIDE.read_text(encoding="utf-8").split(f"## {chapter}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block


def add_module(package: Path, name: str, code: str) -> None:
    """Write a module into a package of links, and import it in the package's ``__init__``."""
    (package / f"{name}.py").write_text(code, encoding="utf-8")
    init = package / "__init__.py"
    text = init.read_text(encoding="utf-8")
    init.unlink()
    dotted = ".".join(package.parts[package.parts.index("rareseg") :])
    init.write_text(f"{text}\nimport {dotted}.{name}  # noqa: F401\n", encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A folder with rareseg in it as it stands, and CONTRIBUTING's network and loss added."""
    root = tmp_path_factory.mktemp("extended")
    package = root / "rareseg"
    shutil.copytree(
        Path(rareseg.__file__).parent,
        package,
        copy_function=os.symlink,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    add_module(package / "prediction" / "networks", "hourglass", block_of("Add a network"))
    add_module(package / "training" / "losses", "poly1", block_of("Add a loss"))
    return root


def test_an_added_network_and_loss_are_planned_by_the_command_line(extended, specks, tmp_path):
    out = tmp_path / "recipe.yaml"
    settings = ["network.name=hourglass", "loss.name=poly1", "loss.epsilon=2"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "rareseg", "plan", specks, "--out", out, *chosen],
        env={**os.environ, "PYTHONPATH": str(extended)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    recipe = read_overrides(out)
    assert recipe["network"] == {"name": "hourglass", "width": 16}
    assert recipe["loss"]["epsilon"] == 2


IMPOSSIBLE = {
    "sampling.strategy=balancd": "'balancd' (did you mean 'balanced'?); allowed are random, ",
    "sampling.phases=[{strategy: hardd, until: 1}]": "'hardd' (did you mean 'hard'?); allowed are ",
    "loss.name=dice_cros_entropy": "(did you mean 'dice_cross_entropy'?); allowed are ",
    "network.name=unett": "(did you mean 'unet'?); allowed are ",
}


@pytest.mark.parametrize("command", ["plan", "preview", "train"])
@pytest.mark.parametrize("setting", IMPOSSIBLE)
def test_an_unknown_name_is_refused_before_anything_is_written(
    command, setting, specks, call, tmp_path
):
    out = tmp_path / {"plan": "recipe.yaml", "preview": "sheet.png", "train": "run"}[command]
    called = call(command, specks, "--out", out, "--set", setting)
    assert called.code == 2
    (sentence,) = called.err.strip().splitlines()
    assert IMPOSSIBLE[setting] in sentence
    assert list(tmp_path.iterdir()) == []


UNFIT = {
    "loss.class_weights=[1, 2, 3]": "loss.class_weights has 3 values, but there are 2 classes",
    "sampling.strategy=table": "'table', but sampling.shares is not set; give the share",
}


@pytest.mark.parametrize("setting", UNFIT)
def test_a_value_for_other_classes_is_refused_before_the_store_is_built(
    setting, specks, call, tmp_path
):
    for command, out in (("plan", tmp_path / "recipe.yaml"), ("train", tmp_path / "run")):
        called = call(command, specks, "--out", out, "--set", setting)
        assert called.code == 2
        assert UNFIT[setting] in called.err
    assert not (tmp_path / "recipe.yaml").exists()
    assert not (tmp_path / "run" / "store").exists()
