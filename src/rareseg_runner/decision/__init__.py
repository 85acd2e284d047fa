"""From an image's scores to masks, objects and flags.

May import ``scoring`` for its records, and everything below.
"""
