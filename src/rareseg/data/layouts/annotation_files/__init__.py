"""Annotation files: what drawing tools and contests write in place of masks.

In goes a tree of names. Out comes a `Listing`, whose masks are read from the annotation files where
they are needed. Imports the registry, `formats` and `masks`.
"""
