"""Placeholder, see style."""
