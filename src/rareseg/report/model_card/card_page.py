"""Join the parts of a model card."""

from __future__ import annotations

from collections.abc import Sequence

from rareseg.report.model_card.card_content import CardContent
from rareseg.report.model_card.card_data import evaluation_data, factors, limits, training_data
from rareseg.report.model_card.card_figures import certificates, findings, measured, metrics
from rareseg.report.model_card.card_model import details, intended_use

_HEAD = (
    "Written by rareseg from the records of the run that trained the model; equal records give an "
    "equal card. Headings: Mitchell et al., *Model Cards for Model Reporting* (2019)."
)

_ETHICS = (
    "Not assessed. The records hold nothing about the people or places that the images come from, "
    "so figures are not split by them, and nobody has recorded whom a miss or an alarm would harm."
)


def model_card(content: CardContent) -> str:
    """Return the card as Markdown; its last line ends in a newline."""
    sections: tuple[tuple[str, Sequence[str]], ...] = (
        ("Model details", details(content)),
        ("Intended use", intended_use(content)),
        ("Factors", factors(content)),
        ("Metrics", metrics(content)),
        ("Evaluation data", evaluation_data(content)),
        ("Training data", training_data(content)),
        ("Quantitative analyses", measured(content)),
        ("Certificates", certificates(content)),
        ("Ethical considerations", [_ETHICS]),
        ("Caveats and recommendations", [*findings(content), *limits(content)]),
    )
    classes = ", ".join(content.model.classes.names[1:])
    lines = [f"# Model card: segmentation of {classes}", "", _HEAD]
    for title, own in sections:
        lines += ["", f"## {title}", "", *own]
    return "\n".join(lines) + "\n"
