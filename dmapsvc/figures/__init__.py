"""Pictures: a slice of a case, label map beside Φ, as in Figure 1 of the paper; and a batch of the loader."""

from dmapsvc.figures.batch import PatchArrays, TurnedPatch, batch_figure
from dmapsvc.figures.draw import case_figure, case_preview, figure_png

__all__ = ["PatchArrays", "TurnedPatch", "batch_figure", "case_figure", "case_preview", "figure_png"]
