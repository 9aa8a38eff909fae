"""A saved model answers: decode, trunk, head; numpy, Pillow and OpenVINO only."""
