"""DICOM series in, DICOM SEG out."""
