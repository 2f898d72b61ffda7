"""Judging a batch, as properties of a function without I/O."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from abacus.loms.v1 import loms_pb2
from kit.errors import Error
from kit.requests import Known
from loms import life
from loms.history import Line
from loms.judging import Asked, judge, moved
from loms.orders import Order

NOW = datetime(2026, 11, 21, tzinfo=UTC)
STATUSES = sorted(set(life.TRANSITIONS.values()))

orders = st.fixed_dictionaries({order_id: st.sampled_from(STATUSES) for order_id in (1, 2, 3)})
asked = st.builds(
    Asked,
    method=st.sampled_from(["one", "other"]),
    order_id=st.integers(1, 4),  # of which the last does not exist
    version=st.sampled_from([None, 5, 6]),
    actor=st.sampled_from(["ann", "bob"]),
    request_id=st.sampled_from(["", "a", "b"]),
    body_hash=st.sampled_from([b"x", b"y"]),
    items=st.sampled_from([None, {1: 2}, {1: 3}]),
)


def judged(event, batch, before, known):
    return judge(
        event,
        batch,
        before,
        known,
        happen=lambda order, asked: moved(order, event, asked.reason, NOW),
        answer_type=loms_pb2.ReserveOrderResponse,
        answer=lambda order: loms_pb2.ReserveOrderResponse(order_id=order.id),
    )


@given(st.sampled_from(sorted(life.DONE)), orders, st.lists(asked, max_size=8))
def test_a_batch_is_what_its_calls_would_get_one_after_another(event, statuses, batch):
    """The same answers, refusals and orders, whether calls share a transaction or have one each."""
    before = {
        order_id: Order(order_id, 7, status, 5, "", 0, "RUB", NOW, NOW, None, lines=[Line(1, 2)])
        for order_id, status in statuses.items()
    }
    whole = judged(event, batch, before, {})
    now, known = before, {}
    for one, outcome in zip(batch, whole.outcomes, strict=True):
        alone = judged(event, [one], now, known)
        assert told(alone.outcomes[0]) == told(outcome)
        now = alone.now
        if one.request_id and not isinstance(outcome, Error):
            known.setdefault((one.method, one.key), Known(one.body_hash, outcome.SerializeToString()))
    assert now == whole.now
    assert {order_id for order_id in before if before[order_id] != now[order_id]} == set(whole.actors)
    assert len(known) == sum(len(part.args[1]) for part in whole.kept)


def told(outcome):
    return (outcome.reason, outcome.message) if isinstance(outcome, Error) else outcome
