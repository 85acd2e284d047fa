"""Suspect labels: where a label and models not trained on it disagree, ranked by evidence.

:func:`collect_evidence` compares the components of a case with the scores of a model, :func:`judge`
makes suspects of the evidence of all cases.
"""

from rareseg.quality.suspects.component_evidence import collect_evidence
from rareseg.quality.suspects.find_suspects import judge
from rareseg.quality.suspects.place import ComponentEvidence, SetAside
from rareseg.quality.suspects.suspect import KINDS, Box, Suspect, load_suspects, save_suspects

__all__ = [
    "KINDS",
    "Box",
    "ComponentEvidence",
    "SetAside",
    "Suspect",
    "collect_evidence",
    "judge",
    "load_suspects",
    "save_suspects",
]
