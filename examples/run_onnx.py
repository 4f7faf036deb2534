"""Segment a volume with an exported ONNX file: python run_onnx.py network.onnx image.nii.gz mask.nii.gz

Needs numpy, nibabel and onnxruntime, nothing else. The image should have the spacing and orientation of the training
data; the file's metadata says which, and what the labels mean.
"""

import json
import sys

import nibabel
import numpy
import onnxruntime

network, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
metadata = json.loads(session.get_modelmeta().custom_metadata_map["metadata"])
image = nibabel.load(source)
voxels = numpy.asarray(image.dataobj, dtype=numpy.float32)
normalized = (voxels - voxels.mean()) / voxels.std()
(logits,) = session.run(["logits"], {"image": normalized[None, None]})
mask = logits[0].argmax(axis=0).astype(numpy.uint8)
nibabel.save(nibabel.Nifti1Image(mask, image.affine), target)
print({name: int((mask == value).sum()) for value, name in enumerate(metadata["labels"], start=1)}, "voxels")
