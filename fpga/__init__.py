"""From a QONNX file to a hardware report."""
