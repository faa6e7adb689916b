"""Self-contained HTML pages to listen to, view and compare separated sources."""

from torchsep.report.making import Report, ReportOptions, make_report
from torchsep.report.sounds import AudioFormat

__all__ = ["AudioFormat", "Report", "ReportOptions", "make_report"]
