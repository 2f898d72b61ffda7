"""The life of an order: which event takes which status where. Pure; docs/order-life.md is this table for people.

A status is the word that the database keeps: the name of the enum's value in lower case, without its prefix.
"""

NEW = "new"
AWAITING_PAYMENT = "awaiting_payment"
FAILED = "failed"
PAID = "paid"
CANCELLED = "cancelled"
ASSEMBLING = "assembling"
READY_FOR_PICKUP = "ready_for_pickup"
DELIVERING = "delivering"
RECEIVED = "received"

PLACED = "placed"
HELD = "held"
SHORT = "short"
PAY = "pay"
CANCEL = "cancel"
EXPIRE = "expire"
CONFIRM = "confirm"
REFUSE = "refuse"
PACK_FOR_PICKUP = "pack_for_pickup"
PACK_FOR_DELIVERY = "pack_for_delivery"
HAND_OVER = "hand_over"
REVOKE = "revoke"  # a cancellation after the payment: by an admin, with the money back

TRANSITIONS: dict[tuple[str | None, str], str] = {
    (None, PLACED): NEW,
    (NEW, HELD): AWAITING_PAYMENT,
    (NEW, SHORT): FAILED,
    (NEW, CANCEL): CANCELLED,
    (NEW, EXPIRE): CANCELLED,
    (AWAITING_PAYMENT, PAY): PAID,
    (AWAITING_PAYMENT, CANCEL): CANCELLED,
    (AWAITING_PAYMENT, EXPIRE): CANCELLED,
    (PAID, CONFIRM): ASSEMBLING,
    (PAID, REFUSE): CANCELLED,
    (PAID, REVOKE): CANCELLED,
    (ASSEMBLING, PACK_FOR_PICKUP): READY_FOR_PICKUP,
    (ASSEMBLING, PACK_FOR_DELIVERY): DELIVERING,
    (ASSEMBLING, REVOKE): CANCELLED,
    (READY_FOR_PICKUP, HAND_OVER): RECEIVED,
    (READY_FOR_PICKUP, REVOKE): CANCELLED,
    (DELIVERING, HAND_OVER): RECEIVED,
    (DELIVERING, REVOKE): CANCELLED,
}

# What a repeat of an event finds done already: it is answered OK and changes nothing. A failed order answers a repeat
# of the reserve that failed.
DONE = {
    HELD: {AWAITING_PAYMENT, FAILED, PAID, ASSEMBLING, READY_FOR_PICKUP, DELIVERING, RECEIVED},
    PAY: {PAID, ASSEMBLING, READY_FOR_PICKUP, DELIVERING, RECEIVED},
    CONFIRM: {ASSEMBLING, READY_FOR_PICKUP, DELIVERING, RECEIVED},
    CANCEL: {CANCELLED},
}


def after(status: str | None, event: str) -> str | None:
    """The status that the event leads to; None where it is not allowed."""
    return TRANSITIONS.get((status, event))
