"""A dataset behind a service or in a bucket: its cases fetched once into a local cache, whole and verified.

`origin` says what is asked of the far end, `mirror` what the loader gets: a folder for a case, as on disk.
"""
