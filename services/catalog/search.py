"""Finding products on sale: words, filters, orders, pages, facets. Reads the table products.

The words that are looked for become a query in the database, by the functions that make its indexes (`asked_words`,
`words_of`): both sides are always the same. A word that very many products have needs no index, because some are among
the next few of the list; so a list is looked through for WALK products first, and only then is the index asked, for
all that there are. Either way the answer is exact, and costs no more than some thousand rows.

A page is one statement, and its facets are another, whatever is asked.
"""

# ruff: noqa: S608  # statements are made of constant texts, once

import asyncio
import contextlib
import unicodedata
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import groupby

import asyncpg

from abacus.catalog.v1 import catalog_pb2
from catalog import products
from kit import paging
from kit.db import open_pool
from kit.errors import INVALID_FIELD

CONNECTIONS = 8  # of one process, beside the service's own
WALK = 600  # products looked through before the index is asked
# Facets are counted over what is found among the first products by their ids, where that is enough; else over all.
FACETS_WALK = 3000
FACETS_ENOUGH = 300
FACETS_OVER = 2000
FACET_VALUES = 50
_LATEST_US = 253_402_300_799_000_000  # the end of the year 9999

# The same statement is cheap or dear by its words: it is planned for each. And no list is looked for by reading all.
_PLANS = {
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "default_transaction_read_only": "on",
}

# In all statements $1 and $2 are prices, $3 whether only discounts, $4 a limit, $5 words, $6 filters "color:black".
_WORDS = "($5::text IS NULL OR found_by @@ asked_words($5, 'nad', true))"
_FILTERS = """
       ($6::text[] IS NULL OR found_by @@ asked_attributes($6))
   AND ($1::bigint IS NULL OR price_charged >= $1)
   AND ($2::bigint IS NULL OR price_charged <= $2)
   AND (NOT $3::boolean OR discount > 0)
"""


@dataclass(frozen=True)
class _Order:
    """An order of lists, by a key and by skus where it is the same; $7 and $8 are those of the last row shown."""

    key: str  # a whole number
    column: str  # that the index is over
    direction: str
    after: str

    @property
    def by(self) -> str:
        return f"{self.column} {self.direction}, sku {self.direction}"


_BY_RELEVANCE = (catalog_pb2.PRODUCT_SORT_UNSPECIFIED, catalog_pb2.PRODUCT_SORT_RELEVANCE)  # where words are given
_BY_ID = _Order("sku", "sku", "ASC", "($7::bigint IS NULL OR sku > $8::bigint)")
_ORDERS = {
    catalog_pb2.PRODUCT_SORT_UNSPECIFIED: _BY_ID,
    catalog_pb2.PRODUCT_SORT_RELEVANCE: _BY_ID,  # where no words are given
    catalog_pb2.PRODUCT_SORT_PRICE_ASC: _Order(
        "price_charged", "price_charged", "ASC", "($7::bigint IS NULL OR (price_charged, sku) > ($7, $8::bigint))"
    ),
    catalog_pb2.PRODUCT_SORT_PRICE_DESC: _Order(
        "price_charged", "price_charged", "DESC", "($7::bigint IS NULL OR (price_charged, sku) < ($7, $8::bigint))"
    ),
    catalog_pb2.PRODUCT_SORT_NEWEST: _Order(
        "(extract(epoch FROM created_at) * 1000000)::bigint",
        "created_at",
        "DESC",
        """($7::bigint IS NULL
           OR (created_at, sku) < (timestamptz 'epoch' + $7 * interval '1 microsecond', $8::bigint))""",
    ),
    catalog_pb2.PRODUCT_SORT_DISCOUNT: _Order(
        "discount", "discount", "DESC", "($7::bigint IS NULL OR (discount, sku) < ($7, $8::bigint))"
    ),
}


def _browsed(order: _Order) -> str:
    """The statement without words and filters of attributes: the indexes of orders and prices do."""
    return f"""
        SELECT {products.COLUMNS}, {order.key} AS key
          FROM products
         WHERE is_active
           AND {_WORDS}
           AND {_FILTERS}
           AND {order.after}
         ORDER BY {order.by}
         LIMIT $4
    """


def _steps(order: _Order, words: str = _WORDS, *, after: str = "", name: str = "page") -> str:
    """The parts of a statement with words or filters of attributes; $9 is WALK.

    The last one has the given name, and the skus of the first $4 products after the last row shown.
    """
    after = after or order.after
    return f"""
        next_{name} AS MATERIALIZED (
            SELECT sku, price_charged, discount, created_at, found_by
              FROM products
             WHERE is_active
               AND {after}
             ORDER BY {order.by}
             LIMIT $9
        ), walked_{name} AS MATERIALIZED (
            SELECT sku
              FROM next_{name}
             WHERE {words}
               AND {_FILTERS}
             ORDER BY {order.by}
             LIMIT $4
        ), done_{name} AS (
            SELECT (SELECT count(*) FROM walked_{name}) = $4 OR (SELECT count(*) FROM next_{name}) < $9 AS done
        ), {name} AS MATERIALIZED (
            SELECT sku FROM walked_{name} WHERE (SELECT done FROM done_{name})
             UNION ALL
            (SELECT sku
               FROM (SELECT sku, price_charged, discount, created_at
                       FROM products
                      WHERE is_active
                        AND {words}
                        AND {_FILTERS}
                        AND NOT (SELECT done FROM done_{name})
                     OFFSET 0) AS found  -- before they are ordered: no index of an order is to be read for them
              WHERE {after}
              ORDER BY {order.by}
              LIMIT $4)
        )"""


def _searched(order: _Order) -> str:
    """The statement with words or filters of attributes, in the order of a key."""
    return f"""
        WITH {_steps(order)}
        SELECT {products.COLUMNS}, {order.key} AS key
          FROM products
         WHERE sku IN (SELECT sku FROM page)
         ORDER BY {order.by}
    """


# Relevance: the words are in names, as they are or by their beginning; or in names and attributes; or anywhere. Where
# one holds, those after it hold too.
_LEVELS = {
    4: "asked_words($5, 'n', false)",
    3: "asked_words($5, 'n', true)",
    2: "asked_words($5, 'na', true)",
    1: "asked_words($5, 'nad', true)",
}


def _relevant() -> str:
    """The statement with words, the most relevant first: level by level, each only where those above it leave room.

    What is found above is left out: on a first page by its skus. On a later one pages before have shown of it too, so
    it is the index that leaves it out, which takes longer.
    """
    steps: list[str] = []
    above: list[str] = []  # what is found there, level by level
    for level, asked in _LEVELS.items():
        words, after = f"found_by @@ {asked}", f"($7::bigint IS NULL OR {level} < $7 OR {level} = $7 AND sku > $8)"
        if above:
            found = " UNION ALL ".join(f"SELECT sku FROM {name}" for name in above)
            words = f"""
                found_by @@ CASE WHEN $7 IS NULL THEN {asked} ELSE {asked} && !! {_LEVELS[level + 1]} END
                AND sku NOT IN ({found})"""
            after += f" AND (SELECT count(*) FROM ({found}) AS above) < $4"
        above.append(f"level_{level}")
        steps.append(_steps(_BY_ID, words, after=after, name=above[-1]))
    levels = " UNION ALL ".join(f"SELECT sku, {level}::bigint AS key FROM level_{level}" for level in _LEVELS)
    return f"""
        WITH {", ".join(steps)},
        page AS (
            SELECT sku, key FROM ({levels}) AS levels
             ORDER BY key DESC, sku
             LIMIT $4
        )
        SELECT {products.COLUMNS}, key
          FROM page
          JOIN products USING (sku)
         ORDER BY key DESC, sku
    """


_BROWSED = {sort: _browsed(order) for sort, order in _ORDERS.items()}
_SEARCHED = {sort: _searched(order) for sort, order in _ORDERS.items()}
_RELEVANT = _relevant()

# $4 is FACETS_OVER, $7 the language, $8 how many values an attribute may have, $9 FACETS_WALK, $10 FACETS_ENOUGH.
_FACETS = f"""
    WITH walked AS MATERIALIZED (
        SELECT attribute_names, attribute_values_ru, attribute_values_en
          FROM (SELECT price_charged, discount, found_by, attribute_names, attribute_values_ru, attribute_values_en
                  FROM products
                 WHERE is_active
                 ORDER BY sku
                 LIMIT $9) AS next
         WHERE {_WORDS}
           AND {_FILTERS}
    ), found AS MATERIALIZED (
        SELECT * FROM walked WHERE (SELECT count(*) FROM walked) >= $10
         UNION ALL
        (SELECT attribute_names, attribute_values_ru, attribute_values_en
           FROM products
          WHERE is_active
            AND {_WORDS}
            AND {_FILTERS}
            AND (SELECT count(*) FROM walked) < $10
          LIMIT $4)
    ), counted AS (
        SELECT name, value, count(*) AS count,
               row_number() OVER (PARTITION BY name ORDER BY count(*) DESC, value) AS place
          FROM found,
               unnest(attribute_names, CASE $7 WHEN 'en' THEN attribute_values_en ELSE attribute_values_ru END)
               AS one (name, value)
         GROUP BY name, value
    )
    SELECT of, name, value, count
      FROM (SELECT count(*) AS of FROM found) AS all_found
      LEFT JOIN counted ON place <= $8
     ORDER BY name, place
"""


@dataclass(frozen=True)
class Facets:
    """Counted values of attributes, and over how many products."""

    facets: list[catalog_pb2.Facet]
    of: int


class Search:
    """Lists of products."""

    def __init__(self, pool: asyncpg.Pool):
        self.pool = pool

    async def page(
        self, request: catalog_pb2.ListProductsRequest, language: str
    ) -> tuple[list[catalog_pb2.Product], str, Facets]:
        """Find the products of a page, without stock; the token of the next page; and facets, where they are asked for.

        Raises:
            Error: INVALID_FIELD, the page token is none of ours, or of another list.
        """
        page, own = paging.Page(request, keys=3), fingerprint(request)
        if page.last and page.last[2] != own:
            raise INVALID_FIELD("page_token: of another list", field="page_token")
        # Before the page is asked for, so that both are looked for at once.
        facets = asyncio.ensure_future(self._facets(request, language)) if request.facets else None
        try:
            rows, next_token = page.cut(await self._rows(request, page), key=lambda row: (row["key"], row["sku"], own))
            counted = await facets if facets else Facets([], 0)
        finally:
            if facets:
                facets.cancel()
        return [products.shown(row, language) for row in rows], next_token, counted

    async def _rows(self, request: catalog_pb2.ListProductsRequest, page: paging.Page) -> list[asyncpg.Record]:
        last_key, last_sku, _ = page.last or (None, None, None)
        if request.sort == catalog_pb2.PRODUCT_SORT_NEWEST and last_key is not None:
            last_key = min(max(last_key, 0), _LATEST_US)
        arguments = [*_conditions(request, page.limit), last_key, last_sku]
        words = _words(request)
        if not words and not request.attributes:
            sql = _BROWSED[request.sort]
        else:
            sql = _RELEVANT if words and request.sort in _BY_RELEVANCE else _SEARCHED[request.sort]
            arguments.append(WALK)
        async with self.pool.acquire() as conn:
            return await conn.fetch(sql, *arguments)

    async def _facets(self, request: catalog_pb2.ListProductsRequest, language: str) -> Facets:
        async with self.pool.acquire() as conn:
            rows = await conn.fetch(
                _FACETS,
                *_conditions(request, FACETS_OVER),
                language,
                FACET_VALUES,
                FACETS_WALK,
                FACETS_ENOUGH,
            )
        return Facets(
            [
                catalog_pb2.Facet(
                    name=name,
                    values=[catalog_pb2.FacetValue(value=row["value"], count=row["count"]) for row in values],
                )
                for name, values in groupby(rows, key=lambda row: row["name"])
                if name is not None  # one row is always there, for the count
            ],
            rows[0]["of"],
        )


def fingerprint(request: catalog_pb2.ListProductsRequest) -> int:
    """A number made of all that decides what is on a list, and in which order: a token is of one list alone."""
    wanted = catalog_pb2.ListProductsRequest()
    wanted.CopyFrom(request)
    for field in ("page_size", "page_token", "facets", "language"):
        wanted.ClearField(field)
    return zlib.crc32(wanted.SerializeToString(deterministic=True))


@contextlib.asynccontextmanager
async def connect(url: str, password: str | None) -> AsyncIterator[Search]:
    """Connections of its own for search, made when they are needed: see _PLANS."""
    async with open_pool(url, password, "catalog search", min_size=0, max_size=CONNECTIONS, plans=_PLANS) as pool:
        yield Search(pool)


def _words(request: catalog_pb2.ListProductsRequest) -> str | None:
    """The words that are looked for; None where there is neither letter nor digit."""
    return request.query if any(map(str.isalnum, unicodedata.normalize("NFKC", request.query))) else None


def _conditions(request: catalog_pb2.ListProductsRequest, limit: int) -> list[object]:
    """$1 to $6 of all statements."""
    return [
        request.min_price if request.HasField("min_price") else None,
        request.max_price if request.HasField("max_price") else None,
        request.discounted,
        limit,
        _words(request),
        list(request.attributes) or None,
    ]
