"""Reports: pages, figures and sentences."""
