"""Machinery that several stages share; may import numpy, Keras and OpenVINO."""
