"""Encoders: a name in, a feature pyramid and its pretrained weights out.

May import ``prediction.transfer`` and the recipe; networks are built on it.
"""
