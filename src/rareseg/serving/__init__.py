"""Serving: a model behind HTTP, an image in and a decision out.

Needs the extra ``serve``. May import ``run`` and everything below it; only ``cli`` imports this.
"""
