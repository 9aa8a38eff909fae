"""Stage `explain`: what a run keeps to explain its answers by, and some of them explained."""
