"""How big the tests across services are: short in `make test`, as the issue asks for in `make chaos`."""

import os
from dataclasses import dataclass

IS_FULL = os.environ.get("CHAOS") == "full"


@dataclass(frozen=True)
class Sizes:
    """All figures in one place."""

    last_units_rounds: int  # 64 buyers each
    operations: int
    unpaid: int  # orders that nobody pays
    races: int  # payments fired at the moment of expiry
    kills: int  # of each kind of process
    postgres_kills: int
    kills_s: int  # over about this time they are spread
    users: int  # who may buy while processes are killed; one order each
    repeats: int  # of each way in which a request comes again
    lag_seconds: int
    lag_orders_per_s: int  # each has two events
    lag_rounds: int  # of what is timed: something else on the machine may spoil a short one, but not each
    mutations: int  # of each RPC's request
    guesses: int  # at accounts that exist, and as many at others
    key_changes: int  # of the keys that sign access tokens
    timeout_s: int  # of one test


SIZES = (
    Sizes(
        last_units_rounds=20,
        operations=10_000,
        unpaid=1_000,
        races=1_000,
        kills=20,
        postgres_kills=5,
        kills_s=240,
        users=7_500,
        repeats=50,
        lag_seconds=20,
        lag_orders_per_s=50,
        lag_rounds=1,
        mutations=10_000,
        guesses=400,
        key_changes=10,
        timeout_s=1_200,
    )
    if IS_FULL
    else Sizes(
        last_units_rounds=1,
        operations=600,
        unpaid=100,
        races=60,
        kills=2,
        postgres_kills=1,
        kills_s=5,
        users=800,
        repeats=4,
        lag_seconds=4,
        lag_orders_per_s=25,
        lag_rounds=3,
        mutations=150,
        guesses=60,
        key_changes=2,
        timeout_s=180,
    )
)
