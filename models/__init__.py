"""The trained bundles that ship: one folder per task, `model.onnx` and `card.json`."""
