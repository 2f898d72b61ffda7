"""Carts, and the orders made of them or of a list."""
