"""The part of CuPy's SciPy copy that the tests of the cucim backend stand on; see `scipy/ndimage.py`."""
