"""Places where a label and models that have not seen it disagree, with how much speaks for each.

:func:`see_case` says what a model says of each component of a case, :func:`judge` makes suspects of
what all cases say.
"""

from rareseg.quality.suspects.component_evidence import see_case
from rareseg.quality.suspects.find_suspects import judge
from rareseg.quality.suspects.place import ComponentEvidence, SetAside
from rareseg.quality.suspects.suspect import KINDS, Box, Suspect, load_suspects, save_suspects

__all__ = [
    "KINDS",
    "Box",
    "ComponentEvidence",
    "SetAside",
    "Suspect",
    "judge",
    "load_suspects",
    "save_suspects",
    "see_case",
]
