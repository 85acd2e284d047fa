"""Watch a stream of images without labels: whether it is still like what the decisions rest on.

In go what a detector says of images and what the images are like; out come e-values by feature, the
images that are most unlike the known ones, estimates that say they are none better, and lists of
groups to label. Imports `prediction` and what lies below; reads no folder of a run.
"""
