"""See `morphology.py`."""
