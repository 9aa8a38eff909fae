"""Ways to adapt a head on frozen features to unlabelled pictures of another domain; one file each."""
