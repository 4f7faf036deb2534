"""What of a NIfTI header says where the voxels lie, and nothing else: free-text fields may name the patient."""

from __future__ import annotations

from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

__all__ = ["geometry_of", "read_geometry"]

FIELDS = (
    *("xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z"),
)


def geometry_of(header: Nifti1Header) -> Nifti1Header:
    """A new header of the same version, in this machine's byte order, that places voxels as `header` does."""
    kept = Nifti2Header() if isinstance(header, Nifti2Header) else Nifti1Header()
    for name in FIELDS:
        kept[name] = header[name]
    kept["pixdim"][:4] = header["pixdim"][:4]
    return kept


def read_geometry(block: bytes) -> Nifti1Header:
    """The header that `geometry_of` made, from its `binaryblock`."""
    kind = Nifti2Header if len(block) == Nifti2Header.sizeof_hdr else Nifti1Header
    return kind(block, check=False)
