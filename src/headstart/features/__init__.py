"""Pictures through a backbone, each once: embeddings and what is cached of them."""
