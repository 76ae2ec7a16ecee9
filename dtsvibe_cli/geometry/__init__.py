"""Geometry that every stage shares: rotations, boxes, cameras, named joints."""
