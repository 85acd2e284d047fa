"""How good it is: score tables, metrics, lesions and intervals."""
