"""From an image to probabilities on its own grid, whatever computes the networks.

May import ``preprocessing`` and everything below.
"""
