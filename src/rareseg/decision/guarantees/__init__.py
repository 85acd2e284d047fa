"""Guarantees: which operating points hold their limits on the next group, and with what risk.

In go losses of groups along a path of points. Out comes a `Certificate`, an
`EstimatedGuarantee` or a refusal. Imports `operating_point`.
"""
