"""See `ndimage.py`."""
