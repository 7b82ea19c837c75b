"""The metrics of a report: what each is called, which way is better and how its numbers are written.

How they are measured is `dmapsvc.evaluate`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column of scores.csv.

    `panel`: its letter in Figure 3 of the paper, if it is there. A distance is in the scores' own unit and
    better when it is smaller; anything else is a share, written in percent and better when it is larger.
    """

    key: str
    title: str
    panel: str = ""
    distance: bool = False

    @property
    def factor(self) -> float:
        """What a number is multiplied with to be written."""
        return 1.0 if self.distance else 100.0

    @property
    def arrow(self) -> str:
        """↑ where more is better, ↓ where less is."""
        return "↓" if self.distance else "↑"

    def better(self, difference: float) -> float:
        """`difference` with its sign such that above 0 is better."""
        return -difference if self.distance else difference


METRICS = (
    Metric(key="g_dsc", title="G-DSC", panel="a"),
    Metric(key="b_dsc", title="B-DSC", panel="b"),
    Metric(key="b_dsc_1", title="B-DSC, 1 voxel", panel="c"),
    Metric(key="b_dsc_2", title="B-DSC, 2 voxels", panel="d"),
    Metric(key="b_dsc_3", title="B-DSC, 3 voxels", panel="e"),
    Metric(key="b_dsc_4", title="B-DSC, 4 voxels", panel="f"),
    Metric(key="nsd", title="NSD"),
    Metric(key="hd95", title="HD95", distance=True),
    Metric(key="asd", title="ASD", distance=True),
)
G_DSC, B_DSC = METRICS[:2]
NSD, HD95, ASD = METRICS[6:]
PANELS = tuple(metric for metric in METRICS if metric.panel)
