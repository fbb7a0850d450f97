"""``agd view``: print records as SAM text."""
