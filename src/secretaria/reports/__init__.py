"""Documents made from figures."""
