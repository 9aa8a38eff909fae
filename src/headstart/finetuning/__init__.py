"""Networks that train further: search of recipes, training, checks."""
