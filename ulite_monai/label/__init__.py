"""A MONAI Label app of this project's bundles: segment, correct, train and go on with the better network."""
