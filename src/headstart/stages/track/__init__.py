"""What a run came to, told to MLflow."""
