"""The page: one HTML file with everything in it, from tables and figures that are made already.

No script, and nothing from elsewhere: pictures are data URIs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dmapsvc import __version__
from dmapsvc.report import boxplots, forest, tables
from dmapsvc.report.comparison import Comparison
from dmapsvc.report.differences import Family
from dmapsvc.report.errormaps import ErrorMaps
from dmapsvc.report.findings import Finding, verdict
from dmapsvc.report.metrics import B_DSC, G_DSC, METRICS
from dmapsvc.report.paper import NUMBERS
from dmapsvc.report.plots import Drawn
from dmapsvc.report.reportfolder import GENERATOR, LEARNING
from dmapsvc.report.statistics import FEWEST, LEVEL


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a page shows.

    `families`: the tests, the mean over labels first for each metric; `drawn`: those in the figure of the
    differences; `figures` by name; `findings`: what the tests say; `limits`: sentences about what they
    cannot.
    """

    comparison: Comparison
    families: Sequence[Family]
    drawn: Sequence[Family]
    figures: Mapping[str, Drawn]
    error_maps: ErrorMaps | None
    curves: Sequence[str]
    findings: Sequence[Finding]
    limits: Sequence[str]


def page(contents: Contents) -> str:
    """The HTML file."""
    environment = Environment(
        loader=PackageLoader("dmapsvc.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = _picture
    shared, differing = tables.settings_table(contents.comparison)
    return environment.get_template("page.html").render(
        contents=contents,
        comparison=contents.comparison,
        metrics=METRICS,
        first=(B_DSC, G_DSC),
        tables=tables,
        verdict=verdict,
        paper=any(contender.name in NUMBERS for contender in contents.comparison.contenders),
        shared=shared,
        differing=differing,
        fewest=FEWEST,
        level=LEVEL,
        boxed=boxplots.is_boxed(contents.comparison),
        marks=forest.Marks.of(contents.drawn),
        learning=LEARNING,
        generator=GENERATOR,
        version=__version__,
    )


def _picture(drawn: Drawn, alt: str) -> Markup:
    """A figure that follows the page's colours; on paper it is light."""
    assert drawn.shown is not None
    return Markup(
        '<picture><source media="screen and (prefers-color-scheme: dark)" srcset="{}">'
        '<img src="{}" alt="{}"></picture>'
    ).format(_uri(drawn.shown.media, drawn.shown.dark), _uri(drawn.shown.media, drawn.shown.light), alt)


def _uri(media: str, data: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"
