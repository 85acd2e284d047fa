"""Run a trained model: read an image, score it, decide.

This package needs neither torch nor MONAI nor numba, and is a wheel of its own, ``rareseg-runner``.
rareseg imports it, so that what reads, prepares and decides exists once.
"""
