"""Quality of labels and splits: audit, agreement of annotators, suspects."""
