"""Segment a volume with an exported OpenVINO file: python run_openvino.py network.xml image.nii.gz mask.nii.gz

Needs numpy, nibabel and openvino, nothing else. The image should have the spacing and orientation of the training
data; the file's metadata says which, and what the labels mean.
"""

import json
import sys

import nibabel
import numpy
import openvino

network, source, target = sys.argv[1:]
model = openvino.Core().read_model(network)
metadata = json.loads(model.get_rt_info("metadata").astype(str))
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
image = nibabel.load(source)
voxels = numpy.asarray(image.dataobj, dtype=numpy.float32)
normalized = (voxels - voxels.mean()) / voxels.std()
logits = compiled({"image": normalized[None, None]})["logits"]
mask = logits[0].argmax(axis=0).astype(numpy.uint8)
nibabel.save(nibabel.Nifti1Image(mask, image.affine), target)
print({name: int((mask == value).sum()) for value, name in enumerate(metadata["labels"], start=1)}, "voxels")
