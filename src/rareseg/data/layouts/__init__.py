"""Layouts: how folders, manifests and `dataset.json` name cases, masks and classes.

In goes a path. Out come cases and what is declared of them. Imports `formats` and the records.
"""
