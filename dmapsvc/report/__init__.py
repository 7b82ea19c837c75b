"""What an evaluation says: statistics, figures and one page. It computes no metric."""

from dmapsvc.report.writing import write_report

__all__ = ["write_report"]
