"""Custom jobs, models and endpoints of Google Cloud's Vertex AI, by its REST interface and google-auth alone."""
