"""Building blocks: they know tensors, not files, options or strings."""
