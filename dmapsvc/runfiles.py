"""What a run's folder calls the files that one room writes and another reads. Any program may write them."""

from __future__ import annotations

SETTINGS = "settings.json"
"""What was asked for, by name."""

HISTORY = "history.csv"
"""The course of the training, a row a validation."""

PREDICTIONS = "predictions"
"""The folder of the test cases' label files."""

SCORES = "scores.csv"
"""The test cases' scores, a row for each label of each case."""
