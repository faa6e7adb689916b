"""Pages on which separated sources can be heard, looked at and compared: one file each, which loads nothing else."""

from torchsep.report.making import Report, ReportOptions, make_report
from torchsep.report.sounds import AudioFormat

__all__ = ["AudioFormat", "Report", "ReportOptions", "make_report"]
