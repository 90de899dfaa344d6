"""Export: float graphs, quantization and NIR."""
