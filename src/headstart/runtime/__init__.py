"""A saved model answers: decode, backbone, head; numpy, Pillow and OpenVINO only."""
