"""Layouts that pair files by their folders and names.

In goes a tree of names. Out comes a `Listing`. Imports the registry, `formats` and `masks`.
"""
