"""Amazon SageMaker by boto3 alone: training jobs, their logs, costs and access, and endpoints for finished runs."""
