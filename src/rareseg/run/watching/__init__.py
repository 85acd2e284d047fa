"""What `monitor` needs of a run and of images: what is watched against what, observed one by one.

In go a run or its bundle and named images; out come observations in the state of a watch, and what
the page shows of them. Imports `report`, `monitoring` and what lies below.
"""
