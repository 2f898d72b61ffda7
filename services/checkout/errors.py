"""The errors of checkout: one row each, a gRPC code and a stable reason."""

from google.rpc import code_pb2

from kit.errors import Reason

PRODUCT_NOT_FOUND = Reason(
    code_pb2.NOT_FOUND, "PRODUCT_NOT_FOUND", "no such product, or not on sale; metadata `sku`, or `skus` of a list"
)
NOT_IN_CART = Reason(code_pb2.NOT_FOUND, "NOT_IN_CART", "the sku is not in the cart")
OUT_OF_STOCK = Reason(
    code_pb2.FAILED_PRECONDITION,
    "OUT_OF_STOCK",
    "fewer units can be bought than wanted; metadata `sku`, `wanted`, `available` of a cart's line; `skus`, `wanted`, "
    "`available` with commas and `order_id` of a purchase",
)
TOO_MANY_UNITS = Reason(
    code_pb2.FAILED_PRECONDITION, "TOO_MANY_UNITS", "more units of one sku than a cart (65535) or an order may hold"
)
TOO_MANY_POSITIONS = Reason(
    code_pb2.FAILED_PRECONDITION,
    "TOO_MANY_POSITIONS",
    "more skus than a cart or an order may hold (20, a setting of each)",
)
CART_EMPTY = Reason(code_pb2.FAILED_PRECONDITION, "CART_EMPTY", "there is nothing to buy")
PRODUCT_GONE = Reason(
    code_pb2.FAILED_PRECONDITION, "PRODUCT_GONE", "something in the cart is not sold any more; metadata `skus`"
)
PRICE_CHANGED = Reason(
    code_pb2.FAILED_PRECONDITION, "PRICE_CHANGED", "the total is not the expected one; metadata has the new one"
)
CURRENCIES_MIXED = Reason(
    code_pb2.FAILED_PRECONDITION, "CURRENCIES_MIXED", "products of more than one currency do not make one order"
)
