"""`python -m tests.bench.callers`: a process of callers. It reads orders from its input, JSON lines, and answers each.

The first line says whom to call and with what, each line after it how: {"callers": 64, "seconds": 5}, where each asks
again as soon as it is answered; or {"per_s": 2000, "seconds": 5}, where calls start at random times, so many a second
whatever the answers take, and are timed from when they were meant to start: waiting shows. `generator.py` is its other
end.

No event loop: when an answer has come it lets `tick_s` pass for more, so that several cost one read and the next
calls one write; lags are late by up to that.
"""

import contextlib
import gc
import json
import random
import select
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from tests.bench.traffic import CREATE, METHODS, PATHS, Source, Traffic
from tests.bench.wire import OK, Connection

DRAIN_S = 10.0  # for what is under way when the time is over
RECONNECT_S = 0.05
BUCKET_S = 0.1  # of the series
PERCENTS = (50, 90, 99, 99.9)


@dataclass
class Load:
    """What one spell of load brought; times in seconds, lags in milliseconds."""

    seconds: float  # until the last answer
    ok: int
    refused: dict[str, int]
    by_method: dict[str, int]  # answered OK
    orders: int  # of CreateOrder answered OK
    unanswered: int  # when nobody waited any more
    cpu_s: float  # of the callers
    lag_ms: dict[str, float]  # "p50", "p99", ..., "max"
    # Every BUCKET_S, by when the answer came: answered OK, their 99th percentile in ms.
    series: list[tuple[int, float]] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Calls a second that were answered OK."""
        return self.ok / self.seconds


class Callers:
    """Callers over some connections."""

    def __init__(self, address: str, authorization: str, traffic: Traffic, connections: int):
        host, _, port = address.rpartition(":")
        self.address = (host, int(port))
        self.source = Source(traffic)
        self.source.next()  # it makes its pieces now, not when it is measured
        self.headers = [
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-bench"),
            ("grpc-timeout", "10S"),
            ("authorization", authorization),
        ]
        self.keeps = traffic.keeps
        self.wanted = connections
        self.connections = [self._connect() for _ in range(connections)]
        self._reconnect_at = 0.0
        self._turn = 0
        self._reset()

    def _connect(self) -> Connection:
        return Connection(self.address, self.headers, PATHS, keeps=self.keeps)

    def _reset(self) -> None:
        self.lags, self.ends = array("d"), array("d")
        self.refused: Counter[str] = Counter()
        self.by_method = [0] * len(METHODS)

    def closed(self, *, callers: int, seconds: float, tick_s: float, calls_max: int = 10**12) -> Load:
        """So many callers, each asks again as soon as it is answered; until the time is over, or so many calls."""

        def run() -> None:
            until = time.perf_counter() + seconds
            self._ask(callers, time.perf_counter())
            left = calls_max - callers
            idle = 0  # callers that found no connection
            while (now := time.perf_counter()) < until and left > 0:
                self._wait(tick_s, min(until - now, RECONNECT_S))
                for connection in self._all():
                    ended = self._take(connection)
                    if connection.is_closing:
                        idle += ended
                        continue
                    ended = min(ended, left)
                    left -= ended
                    for _ in range(ended):
                        method, body = self.source.next()
                        connection.call((time.perf_counter(), method), method, body)
                    connection.flush()
                if idle and self.connections:
                    self._ask(idle, time.perf_counter())
                    idle = 0

        return self._measured(run)

    def paced(self, *, per_s: float, seconds: float, tick_s: float) -> Load:
        """So many calls a second at random times; each is timed from when it was meant to start."""

        def run() -> None:
            chance = random.Random(1)
            due = started = time.perf_counter()
            until = started + seconds
            while due < until:
                # Until a call is due or an answer has come; then for more of both, because each look and write costs.
                select.select(self.connections, (), (), max(0.0, min(due - time.perf_counter(), RECONNECT_S)))
                time.sleep(tick_s)
                now = min(time.perf_counter(), until)
                while due < now:
                    self._ask(1, due, flush=False)
                    due += chance.expovariate(per_s)
                for connection in select.select(self._all(), (), (), 0)[0]:
                    self._take(connection)
                for connection in self.connections:
                    connection.flush()
                if now == until:
                    break

        return self._measured(run)

    def _ask(self, calls: int, since: float, *, flush: bool = True) -> None:
        """Start calls on the connections in turn."""
        if not self.connections:
            self.refused["NO_CONNECTION"] += calls
            return
        for _ in range(calls):
            self._turn += 1
            method, body = self.source.next()
            self.connections[self._turn % len(self.connections)].call((since, method), method, body)
        if flush:
            for connection in self.connections:
                connection.flush()

    def _wait(self, tick_s: float, most_s: float) -> None:
        """Until an answer has come, and then for a tick, in which more come: they cost one read and one write."""
        if select.select(self.connections, (), (), most_s)[0] and tick_s:
            time.sleep(tick_s)

    def _all(self) -> list[Connection]:
        """The connections; one that was lost is opened again."""
        if any(one.is_closing and not one.pending for one in self.connections):
            self.connections = [one for one in self.connections if one.pending or not one.is_closing]
        if len(self.connections) < self.wanted and time.perf_counter() > self._reconnect_at:
            self._reconnect_at = time.perf_counter() + RECONNECT_S
            with contextlib.suppress(OSError):
                self.connections.append(self._connect())
        return self.connections

    def _take(self, connection: Connection) -> int:
        """Count the calls that ended on a connection; return how many."""
        calls = connection.pump()
        if not calls:
            return 0
        now = time.perf_counter()
        lags, ends, by_method = self.lags, self.ends, self.by_method
        for (since, method), ending, body in calls:
            if ending == OK:
                lags.append(now - since)
                ends.append(now)
                by_method[method] += 1
                if body and method == CREATE:
                    self.source.made(body)
            else:
                self.refused[ending] += 1
        return len(calls)

    def _measured(self, run: Callable[[], None]) -> Load:
        self._reset()
        gc.collect()
        gc.disable()
        started, cpu = time.perf_counter(), time.process_time()
        run()
        patience_ends = time.perf_counter() + DRAIN_S
        while any(one.pending for one in self.connections) and time.perf_counter() < patience_ends:
            self._wait(0.0, RECONNECT_S)
            for connection in self._all():
                self._take(connection)
                connection.flush()
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        gc.enable()
        return Load(
            seconds=seconds,
            ok=len(self.lags),
            refused=dict(self.refused),
            by_method={name: count for name, count in zip(METHODS, self.by_method, strict=True) if count},
            orders=self.by_method[CREATE],
            unanswered=sum(one.pending for one in self.connections),
            cpu_s=cpu_s,
            lag_ms=percentiles_ms(self.lags),
            series=self._series(started, seconds),
        )

    def _series(self, started: float, seconds: float) -> list[tuple[int, float]]:
        buckets: list[list[float]] = [[] for _ in range(int(seconds / BUCKET_S) + 1)]
        for ended, lag in zip(self.ends, self.lags, strict=True):
            buckets[min(int((ended - started) / BUCKET_S), len(buckets) - 1)].append(lag)
        return [(len(lags), percentiles_ms(lags)["p99"]) for lags in buckets]


def percentiles_ms(lags_s: Sequence[float]) -> dict[str, float]:
    """Percentiles of PERCENTS, "p50" and so on, and "max"; zeros where nothing was measured."""
    ordered = sorted(lags_s) or [0.0]
    found = {f"p{percent:g}": ordered[int((len(ordered) - 1) * percent / 100)] for percent in PERCENTS}
    return {name: round(lag * 1000, 3) for name, lag in (found | {"max": ordered[-1]}).items()}


def main() -> None:
    """Obey line by line."""
    first = json.loads(sys.stdin.readline())
    callers = Callers(first["address"], first["authorization"], Traffic(**first["traffic"]), first["connections"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        how = json.loads(line)
        load = callers.closed(**how) if "callers" in how else callers.paced(**how)
        print(json.dumps(asdict(load)), flush=True)


if __name__ == "__main__":
    main()
