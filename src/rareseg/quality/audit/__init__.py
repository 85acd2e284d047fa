"""The audit: everything in a data set that may be wrong or odd, found before training.

:func:`audit_dataset` looks at every case once and holds the cases against each other; what it says
is a list of findings.
"""

from rareseg.quality.audit.case_features import read_case
from rareseg.quality.audit.finding import (
    KINDS,
    SEVERITIES,
    Box,
    Example,
    Finding,
    Move,
    Severity,
    check_allowed,
    in_order,
)
from rareseg.quality.audit.negative_cases import BackgroundCoverage
from rareseg.quality.audit.run_audit import Audit, RegionFacts, audit_dataset

__all__ = [
    "KINDS",
    "SEVERITIES",
    "Audit",
    "BackgroundCoverage",
    "Box",
    "Example",
    "Finding",
    "Move",
    "RegionFacts",
    "Severity",
    "audit_dataset",
    "check_allowed",
    "in_order",
    "read_case",
]
