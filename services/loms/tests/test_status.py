"""What an operator asks `python -m loms status`."""

from loms import __main__ as program
from loms import changes


async def test_status_counts_new_orders_that_time_forgot(loms, monkeypatch, tmp_path):
    """Those that should have ended 5 s ago, by the time that is set; none that was reserved."""
    (tmp_path / "keys.json").write_text("{}")
    given = {
        "database_url": loms.db.url,
        "listen": "127.0.0.1:0",
        "kafka": "127.0.0.1:1",
        "jwks_url": "http://127.0.0.1:1/",
        "service_keys_file": str(tmp_path / "keys.json"),
        "new_ttl_s": "60",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"LOMS_{name.upper()}", value)
    await loms.receive(1, 5)
    made = [await loms.place((1, 1)) for _ in range(3)]
    await loms.reserve(made[0].order_id)
    for age_s, forgotten in ((60, 0), (64, 0), (66, 2)):
        await loms.db.pool.execute("UPDATE orders SET created_at = now() - make_interval(secs => $1)", age_s)
        assert forgotten == (await program.status(loms.db))["overdue_new_orders"]
    await changes.expire_new_once(loms.db, new_ttl_s=60)
    assert 0 == (await program.status(loms.db))["overdue_new_orders"]
