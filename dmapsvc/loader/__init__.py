"""From a dataset, in a folder or behind a service, to random training patches.

Opening a dataset (`source`) needs no torch; patches and batches do.
"""
