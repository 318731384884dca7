"""From stored words to batches: where they come from, in which order, and as which pixels."""
