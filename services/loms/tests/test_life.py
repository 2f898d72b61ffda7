"""The table of an order's life: the one in code and the one for people are the same."""

import re
from pathlib import Path

import pytest

from abacus.loms.v1 import loms_pb2
from loms import history, life

DOCUMENT = Path(__file__).parents[3] / "docs" / "order-life.md"


def rows(heading):
    section = DOCUMENT.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    return cells[2:]


def test_the_document_has_the_transitions_of_the_code():
    """docs/order-life.md lists each (from, event, to) of loms.life, and no other."""
    documented = {
        (None if source == "–" else source, event): target for source, event, target, *_ in rows("Transitions")
    }
    assert documented == life.TRANSITIONS


def test_the_document_names_every_status():
    """Each status has its enum and its words."""
    statuses = set(life.TRANSITIONS.values())
    assert statuses == {row[0] for row in rows("Statuses")}
    assert {loms_pb2.OrderStatus.Name(history.to_enum(status)) for status in statuses} == {
        row[1] for row in rows("Statuses")
    }


def test_the_document_names_every_status_of_a_reservation():
    """Each value of the contract, and no other."""
    statuses = set(dict(loms_pb2.ReservationStatus.items())) - {"RESERVATION_STATUS_UNSPECIFIED"}
    assert statuses == {row[0] for row in rows("Reservations")}


@pytest.mark.parametrize("event", [life.PAY, life.CONFIRM, life.CANCEL, life.EXPIRE])
def test_an_event_leads_to_one_status(event):
    """A batch of them is written with one."""
    assert 1 == len({target for (_, happens), target in life.TRANSITIONS.items() if happens == event})


@pytest.mark.parametrize("event", life.DONE)
def test_what_finds_its_work_done_is_not_to_be_done(event):
    """A status either takes an event or answers that it happened; what the event leads to answers so."""
    done = life.DONE[event]
    assert not [status for status in done if life.after(status, event)]
    assert {target for (_, happens), target in life.TRANSITIONS.items() if happens == event} <= done


def test_every_status_is_in_the_contract():
    """The enum has a value for each status of the table, and the migration's domain a word."""
    words = {history.from_enum(number) for number in loms_pb2.OrderStatus.values()} - {None}
    assert set(life.TRANSITIONS.values()) == words
    migration = (Path(__file__).parents[1] / "migrations" / "20261121000100_orders_and_stock.sql").read_text()
    assert words == set(re.findall(r"'(\w+)'", migration.split("CREATE DOMAIN")[1].split(";")[0]))
