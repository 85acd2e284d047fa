"""Manifests: tables that name cases, read and written.

In goes a tree of names. Out comes a `Listing`. Imports the registry, `formats` and `masks`.
"""
