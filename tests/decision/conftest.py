from __future__ import annotations

from hypothesis import settings

# The first example of a test may compile a kernel.
settings.register_profile("compiled kernels", deadline=None, max_examples=40)
settings.load_profile("compiled kernels")
