"""See `operations/morphology.py`."""
