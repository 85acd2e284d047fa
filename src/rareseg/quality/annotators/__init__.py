"""Agreement of annotators, and one consensus mask of theirs.

:func:`measure_agreement` only measures, :func:`write_consensus` also writes a data set that can be
trained on.
"""

from rareseg.quality.annotators.agreement import AgreementSettings
from rareseg.quality.annotators.agreement_summary import RegionAgreement
from rareseg.quality.annotators.all_annotators import (
    AnnotatorResults,
    CaseConsensus,
    measure_agreement,
)
from rareseg.quality.annotators.consensus import ConsensusSettings
from rareseg.quality.annotators.consensus_files import agreement_record, write_consensus

__all__ = [
    "AgreementSettings",
    "AnnotatorResults",
    "CaseConsensus",
    "ConsensusSettings",
    "RegionAgreement",
    "agreement_record",
    "measure_agreement",
    "write_consensus",
]
