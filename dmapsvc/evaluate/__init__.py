"""Metrics of a segmentation against the truth, and what is done around them. NumPy and SciPy alone."""
