"""A dataset's cases in the pipelines of MONAI and TorchIO: D travels through their transforms, Φ comes last.

A module a library, each imported only by who has it.
"""
