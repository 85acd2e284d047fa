"""Pages: one offline HTML file each for a report, an audit and a comparison.

In goes a record of everything that is shown. Out comes HTML. Imports `figures` and `wording`.
"""
