"""Training curves told to TensorBoard or MLflow."""
