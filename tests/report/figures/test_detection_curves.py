"""What is found at all, against the results and tables that the figures are read from."""

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from sklearn.metrics import roc_auc_score

from rareseg.evaluation.measures.measure_table import DETAIL_MEASURES
from rareseg.report.figures.detection_curves import detection_figures
from rareseg.report.figures.plotly_parts import Figure, MissingFigure
from rareseg.report.tables.mask_measure_rows import confusion_view, detail_rows


def figures_of(content, region):
    return {figure.title: figure for figure in detection_figures(content, region)}


def test_the_froc_passes_through_the_chosen_point(content):
    for region in content.regions:
        froc = figures_of(content, region)["FROC"]
        part = content.scorecard.region(region)
        [mark] = [trace for trace in froc.data if trace["name"] == "chosen point"]
        assert mark["x"][0] == pytest.approx(part["false_positive_components"].value)
        assert mark["y"][0] == pytest.approx(part["object_recall"].value)
        point = content.points[region]
        # Between two thresholds of the grid the recall lies between theirs.
        [curve] = [trace for trace in froc.data if not trace["name"]]
        levels = np.array([float(text) for text in curve["customdata"]])
        recall = np.array(curve["y"])
        above = recall[levels >= point.threshold].max(initial=0.0)
        below = recall[levels <= point.threshold].min(initial=1.0)
        assert above - 1e-4 <= mark["y"][0] <= below + 1e-4


def test_every_object_is_in_one_band_of_size(content):
    figure = figures_of(content, "foreground")["Objects found, by size"]
    [bars] = figure.data
    part = content.scorecard.region("foreground")
    numbers = np.array([int(text) for text in bars["text"]])
    assert numbers.sum() == part.objects.n_objects
    found = (np.array(bars["y"]) * numbers).sum() / numbers.sum()
    assert found == pytest.approx(part["object_recall"].value)
    assert all(low >= 0 for low in bars["error_y"]["arrayminus"])
    assert all(
        y + high <= 1 + 1e-9 for y, high in zip(bars["y"], bars["error_y"]["array"], strict=True)
    )


def test_images_are_told_apart_as_by_scikit_learn(content):
    figure = figures_of(content, "crack")["Image-level ROC"]
    rows = [row for row in content.table if row.region == "crack"]
    area = roc_auc_score([row.n_inside > 0 for row in rows], [row.top for row in rows])
    assert f"Area {area:.2f} (" in figure.caption
    part = content.scorecard.region("crack")
    [mark] = [trace for trace in figure.data if trace["name"].startswith("chosen")]
    assert mark["x"][0] == pytest.approx(part["false_alarm"].value)


def test_figures_are_valid_and_themed(content):
    for figure in detection_figures(content, "pit"):
        assert isinstance(figure, Figure)
        assert "#" not in str(figure.plotly)
        for trace in figure.data:
            tokens = ("line", "marker", "error_y")
            bare = {name: part for name, part in trace.items() if name not in tokens}
            go.Figure(data=[bare])  # raises for anything that Plotly does not know


def test_without_components_or_objects_the_reason_stands(content):
    empty = replace(content, components=None, results=())
    froc, sizes, *_ = detection_figures(empty, "pit")
    assert froc == MissingFigure(froc.title, "components were not counted")
    assert sizes == MissingFigure(sizes.title, "no object in any case")


def test_borders_are_told_in_their_unit_and_volumes_where_there_are_any(content):
    details = [case for case in content.details if case.region == "pit"]
    flat = detail_rows(details, volumes=False, unit="pixels")
    assert [row[0] for row in flat] == [
        "95 % Hausdorff distance (pixels)",
        "Mean surface distance (pixels)",
        "Surface dice within 1 pixels",
    ]
    assert len(detail_rows(details, volumes=True, unit="mm")) == len(DETAIL_MEASURES)
    assert detail_rows([], volumes=True, unit="mm") == ()


def test_confused_classes_are_shares_of_each_class(content):
    view = confusion_view(content.confusion)
    assert view.columns == ("Is", "voxels", "called background", "called pit", "called crack")
    matrix = content.confusion.matrix
    for row, counts in zip(view.rows, matrix, strict=True):
        assert row[1] == f"{counts.sum():,}"
    two = replace(content.confusion, names=("background", "speck"), matrix=matrix[:2, :2])
    assert confusion_view(two) is None
    assert confusion_view(None) is None
