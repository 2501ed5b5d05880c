"""numpy and onnxruntime on a target: which versions, from which wheels, and how they are imported."""
