"""Where to cut: operating points."""
