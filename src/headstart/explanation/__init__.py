"""Why a model answers so: heat maps and the training pictures most like a picture."""
