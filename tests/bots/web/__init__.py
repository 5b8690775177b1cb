"""The HTTP edge, one module a topic."""
