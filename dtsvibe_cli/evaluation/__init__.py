"""Evaluation: metrics of the field, computed per sequence."""
