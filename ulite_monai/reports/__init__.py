"""What is known of masks: metrics against a reference."""

from ulite_monai.reports.case_metrics import CaseMetrics

__all__ = ["CaseMetrics"]
