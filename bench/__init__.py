"""Measurements. Each figure stands beside its floor, taken in the same run on the same server."""
