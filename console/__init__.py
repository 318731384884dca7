"""What people type and what they see: argument types, progress, tables."""
