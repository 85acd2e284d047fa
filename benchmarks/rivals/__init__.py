"""The rivals of `few_labels.py`: each a program that learns a task and leaves scores in files.

`few_labels_rivals.py` writes the task, calls `python -m rivals.NAME TASK BEGUN`, and judges what
lies there afterwards.
"""
