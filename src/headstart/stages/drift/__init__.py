"""The stage `drift`: what a model in use is compared with."""
