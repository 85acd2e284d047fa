"""Layouts of tools for medical volumes.

In goes a tree of names. Out comes a `Listing`. Imports the registry, `formats` and `masks`.
"""
