"""From an image as its file holds it to the network's values, and whether it may be scored.

May import ``formats`` and the records.
"""
