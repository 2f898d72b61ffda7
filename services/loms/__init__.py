"""Orders and their life; warehouses, stock, holds and movements. Knows skus and counts, asks nobody."""
