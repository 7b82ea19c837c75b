"""How every figure of the report looks, on light and on dark paper, and how it becomes a file.

The references stand out in Okabe and Ito's colours; all others are grey and told apart by their names, which
always stand beside them. Drawn with matplotlib's objects, without pyplot's state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dmapsvc.report.comparison import Comparison, Contender

WIDTH = 10.0  # inches, as wide as the page's text

_DPI = 160
_FONTS = ("Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans")
_STRONG = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of one kind of paper: text and boxes, what stands back, hair lines, and the paper itself."""

    name: str
    ink: str
    muted: str
    hair: str
    paper: str
    strong: tuple[str, ...]

    def colour(self, comparison: Comparison, contender: Contender) -> str:
        """A contender's colour: its own for a reference, grey for the others."""
        if contender.name not in comparison.references:
            return self.muted
        return self.strong[comparison.references.index(contender.name) % len(self.strong)]


LIGHT = Theme(name="light", ink="#1c2024", muted="#7b838c", hair="#dfe3e8", paper="#ffffff", strong=_STRONG)
DARK = Theme(
    name="dark",
    ink="#e8eaed",
    muted="#9aa2ab",
    hair="#333a42",
    paper="#14171b",
    strong=("#F5874A", "#56B4E9", "#2FC49A", "#E6A3CB"),  # the same hues, light enough for dark paper
)

Draw = Callable[[Theme], Figure]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure as files on light paper, `png` and `svg`, and as a page shows it: None if none does."""

    name: str
    png: bytes
    svg: bytes
    shown: Shown | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure on light and on dark paper, and the media type of both."""

    media: str
    light: bytes
    dark: bytes


def render(name: str, draw: Draw, *, raster: bool = False, page: bool = True) -> Drawn:
    """Draw a figure; for a page too if `page`, there as pixels if `raster`, which suits shaded surfaces."""
    kind, media = ("webp", "image/webp") if raster else ("svg", "image/svg+xml")
    with _look(LIGHT):
        figure = _laid(draw(LIGHT))
        png, svg = _saved(figure, "png"), _saved(figure, "svg")
        light = svg if kind == "svg" or not page else _saved(figure, kind)
    if not page:
        return Drawn(name=name, png=png, svg=svg)
    with _look(DARK):
        dark = _saved(_laid(draw(DARK)), kind)
    return Drawn(name=name, png=png, svg=svg, shown=Shown(media=media, light=light, dark=dark))


def panel_title(axes: Axes, letter: str, title: str) -> None:
    """'(a) G-DSC' at the left, above a panel."""
    axes.set_title(f"({letter})  {title}" if letter else title, loc="left", fontweight="bold", fontsize=10)


def plain_axes(axes: Axes, grid: Literal["x", "y", "both"] = "x") -> None:
    """Hair lines along `grid`, and no box around the panel."""
    axes.grid(True, axis=grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


@contextmanager
def _look(theme: Theme) -> Iterator[None]:
    installed = set(font_manager.get_font_names())
    look: dict[str, Any] = {
        "font.family": [name for name in _FONTS if name in installed],
        "font.size": 9,
        "text.color": theme.ink,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.ink,
        "axes.facecolor": "none",
        "axes.linewidth": 0.8,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "grid.color": theme.hair,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "legend.frameon": False,
        "figure.constrained_layout.wspace": 0.05,
        "figure.constrained_layout.hspace": 0.06,
        "svg.hashsalt": "dmapsvc",  # the same figure is the same file
        "text.parse_math": False,  # a name with a $ is a name
    }
    with rc_context(look):  # type: ignore[arg-type]  # its keys are a Literal of all names
        yield


def _laid(figure: Figure) -> Figure:
    """The figure with its layout made once, for all files: that takes longer than to draw it."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _saved(figure: Figure, kind: str) -> bytes:
    file = BytesIO()
    more: dict[str, Any] = {
        "svg": {"metadata": {"Date": None}},
        "webp": {"transparent": True, "pil_kwargs": {"quality": 88}},
    }
    figure.savefig(file, format=kind, dpi=_DPI, **more.get(kind, {}))
    return file.getvalue()
