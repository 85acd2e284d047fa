"""What docs/annotators.md shows is what happens."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from rareseg.data.records import Case
from rareseg.quality.annotators.agreement import AgreementSettings, measure_case
from rareseg.quality.annotators.annotations import Reviews
from rareseg.quality.annotators.fleiss import kappa_sums
from rareseg_runner.image_records import Classes, Geometry

PAGE = (Path(__file__).parents[3] / "docs" / "annotators.md").read_text(encoding="utf-8")
MAKES_DATA, USES_THEM = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(PRINTED,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def test_the_worked_example(call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(MAKES_DATA, "docs/annotators.md", "exec"), {})
    called = call("consensus", "plates", "--out", "agreed")
    assert called.code == 0, called.err
    printed = [line for line in called.out.splitlines() if not line.startswith("Masks and tables")]
    shown = PRINTED.splitlines()
    # In the page lines are broken where they are too long for it.
    assert " ".join(" ".join(shown).split()) == " ".join(" ".join(printed).split())
    record = json.loads(Path("agreed/agreement.json").read_text(encoding="utf-8"))
    text = " ".join(PAGE.split())
    for pair in record["regions"][0]["pairs"]:
        first, second = pair["first"].title(), pair["second"].title()
        value = f"{pair['dice']['value']:.2f}"
        assert re.search(rf"{first} and {second} (overlap with a dice of|with) {value}", text)
    names = {}
    exec(compile(USES_THEM, "docs/annotators.md", "exec"), names)
    assert capsys.readouterr().out.split()[0] == "foreground"
    assert f"{len(names['disputed'])} by one alone" in called.out


def rows():
    found = re.findall(r"\| (\d+)² \| ([\d.]+) % \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", PAGE)
    assert len(found) == 3
    return [tuple(map(float, row)) for row in found]


@pytest.mark.parametrize(("size", "agreeing", "kappa", "near", "dice"), rows())
def test_background_and_kappa(size, agreeing, kappa, near, dice):
    size = int(size)
    y, x = np.mgrid[:size, :size] - size // 2
    labels = np.stack([y**2 + x**2 <= radius**2 for radius in (6, 8, 9)])[:, np.newaxis]
    reviews = Reviews(
        Case("discs", (Path("image.png"),), None),
        ("a", "b", "c"),
        labels.astype(np.uint8),
        (slice(0, 1), slice(0, size), slice(0, size)),
        (1, size, size),
        Geometry(),
    )
    classes = Classes(("background", "disc"), (0, 1), {"disc": (1,)})
    (case,) = measure_case(reviews, classes, AgreementSettings())
    found = (case.kappa, case.kappa_near, case.dice)
    assert found == pytest.approx((kappa, near, dice), abs=5.1e-4)
    sums = kappa_sums(case.votes)
    assert 100 * (1 - sums.disagreement / sums.voxels) == pytest.approx(agreeing, abs=5.1e-3)
