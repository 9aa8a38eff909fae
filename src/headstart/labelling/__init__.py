"""Which pictures to label next."""
