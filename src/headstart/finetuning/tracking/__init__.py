"""Training curves in TensorBoard or MLflow."""
