"""Networks that are built here, layer by layer, for weights that packages carry."""
