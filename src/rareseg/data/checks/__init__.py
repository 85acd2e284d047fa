"""Checks: what a data set's files hold, and everything that is wrong with them.

In goes a data set. Out comes a `Fingerprint` with its problems. Imports `formats`, `look_alikes`
and the records.
"""
