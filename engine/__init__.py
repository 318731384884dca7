"""Training and evaluation loops, distributed start, metrics and reports."""
