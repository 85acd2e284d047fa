"""The store: every case, preprocessed, in one memory-mapped file that training reads.

In go a data set, its fingerprint and the preprocessing. Out comes a `Store`. Imports `checks`,
`formats` and the records.
"""
