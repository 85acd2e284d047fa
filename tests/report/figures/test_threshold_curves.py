import math
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from sklearn.metrics import average_precision_score

from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.report.figures.plotly_parts import MOST_POINTS, Figure, MissingFigure
from rareseg.report.figures.threshold_curves import region_figures
from rareseg.report.figures.training_curves import training_figures
from rareseg.report.report_content import History


def trace(figure, name):
    [found] = [line for line in figure.data if line["name"].startswith(name)]
    return found


def value_at(line, threshold):
    x = math.log10(threshold / (1 - threshold))
    return line["y"][int(np.argmin(np.abs(np.array(line["x"]) - x)))]


def test_the_threshold_curve_passes_through_the_scorecard(content):
    for region in content.regions:
        figure = region_figures(content.table, region, content.points[region])[0]
        part = content.scorecard.region(region)
        line, clean = trace(figure, "mean dice"), trace(figure, "specificity")
        assert value_at(line, part.threshold) == pytest.approx(part["dice"].value, abs=1e-4)
        alarms = part["false_alarm"].value
        assert value_at(clean, part.threshold) == pytest.approx(1 - alarms, abs=1e-4)


def test_without_a_gate_the_curve_passes_through_one_half(content):
    figure = region_figures(content.table, "pit", None)[0]
    part = content.parts("pit")[0][1]
    assert part.threshold == 0.5
    assert value_at(trace(figure, "mean dice"), 0.5) == pytest.approx(part["dice"].value, abs=1e-4)


def test_marks_lie_where_the_counts_say():
    rng = np.random.default_rng(3)
    reference = rng.random((40, 40)) < 0.1
    scores = np.clip(rng.normal(0.35 + 0.3 * reference, 0.15), 0, 1).astype(np.float32)
    table = ScoreTable((score_case(scores, reference, case_id="a", region="r"),))
    _, precision_recall, roc = region_figures(table, "r", None)
    cut = scores >= 0.5
    tp, fp = (cut & reference).sum(), (cut & ~reference).sum()
    mark = trace(precision_recall, "threshold 0.5")
    assert mark["x"][0] == pytest.approx(tp / reference.sum())
    assert mark["y"][0] == pytest.approx(tp / (tp + fp))
    mark = trace(roc, "threshold 0.5")
    assert mark["x"][0] == pytest.approx(math.log10(fp / (~reference).sum()))
    expected = average_precision_score(reference.ravel(), scores.ravel())
    shown = float(precision_recall.caption.removesuffix(".").split()[-1])
    assert shown == pytest.approx(expected, abs=2e-3)


def test_a_chosen_point_of_one_half_is_marked_once(content):
    point = replace(content.points["pit"], threshold=0.5)
    figure = region_figures(content.table, "pit", point)[1]
    assert [entry.name for entry in figure.key] == ["chosen threshold 0.5"]


def test_figures_are_valid_small_and_themed(content):
    figures = region_figures(content.table, "crack", content.points["crack"])
    for figure in (*figures, *training_figures(content.history)):
        assert isinstance(figure, Figure)
        shown = str(figure.plotly)
        assert "#" not in shown  # every colour is a token
        for line in figure.data:
            assert len(line["x"]) == len(line["y"]) <= MOST_POINTS + 3
            bare = {**line, "line": {"width": 2}, "marker": {}}
            go.Figure(data=[bare])  # raises for anything that Plotly does not know


def test_what_cannot_be_drawn_says_why():
    scores = np.full((4, 4), 0.2, np.float32)
    empty = score_case(scores, np.zeros((4, 4), bool), case_id="a", region="r")
    first, second, third = region_figures(ScoreTable((empty,)), "r", None)
    assert isinstance(first, Figure)
    assert [trace["name"] for trace in first.data] == ["specificity of images"]
    assert second == MissingFigure("Precision and recall", "no positive voxel in any case")
    assert isinstance(third, MissingFigure)
    assert all(isinstance(f, MissingFigure) for f in region_figures(ScoreTable(), "r", None))


def test_training_figures_are_thinned_and_may_be_absent():
    assert training_figures(History()) == ()
    steps = list(range(1, 5001))
    [figure] = training_figures(History(steps={"step": steps, "loss": [0.5] * 5000}))
    assert len(figure.data[0]["x"]) <= MOST_POINTS
    assert set(figure.data[1]["y"]) == {0.5}
    assert "5,000 steps" in figure.caption
