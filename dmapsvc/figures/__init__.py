"""Pictures of a case: a slice of its label map beside the same slice of Φ, as in Figure 1 of the paper."""

from dmapsvc.figures.draw import case_figure, case_preview, figure_png

__all__ = ["case_figure", "case_preview", "figure_png"]
