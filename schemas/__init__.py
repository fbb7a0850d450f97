"""Published schemas."""
