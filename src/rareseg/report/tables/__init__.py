"""Tables: the rows of the report and of the model card, as finished text.

In go scorecards, recipes and compositions. Out come rows of strings. Imports `wording` for numbers.
"""
