"""What people say of the labels: a page for them, and what becomes of their decisions."""
