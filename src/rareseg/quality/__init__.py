"""Whether labels and split are to be trusted: audit, agreement of annotators, suspects."""
