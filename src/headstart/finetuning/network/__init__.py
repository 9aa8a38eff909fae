"""The network that a recipe trains, and the plain model that comes of it."""
