"""Carts, and the orders made of them."""
