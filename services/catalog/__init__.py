"""Products and their prices: the ProductService of the shop."""
