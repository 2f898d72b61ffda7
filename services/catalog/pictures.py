"""Pictures of products that have none of their own: drawn from what is known of them, always the same."""

import zlib
from pathlib import Path

import asyncpg
from google.api import httpbody_pb2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"
LINE = 26  # characters of a line below the picture
LINES = 2

_SHAPES = (  # of categories by their English names; templates/picture.svg draws them
    "electronics", "kitchen", "home textiles", "clothes and shoes", "furniture", "tools", "sports and outdoors", "toys",
)  # fmt: skip
_template = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
).get_template("picture.svg")


def draw(row: asyncpg.Record, language: str) -> httpbody_pb2.HttpBody:
    """Draw a product, a row of products.COLUMNS: the shape of its category, the colour of its brand, its name."""
    attributes = dict(zip(row["attribute_names"], row["attribute_values_en"], strict=True))
    category = attributes.get("category", "").lower()
    # Attributes allow what XML has no way to write.
    name = "".join(character for character in row[f"name_{language}"] if character not in "\ufffe\uffff")
    svg = _template.render(
        shape=category if category in _SHAPES else "",
        hue=zlib.crc32(attributes.get("brand", str(row["sku"])).encode()) % 360,
        name=name,
        lines=_wrapped(name),
    )
    return httpbody_pb2.HttpBody(content_type="image/svg+xml", data=svg.encode())


def _wrapped(name: str) -> list[str]:
    """The name in LINES lines, the end of a longer one left out."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    shown = [line if len(line) <= LINE else line[: LINE - 1] + "…" for line in lines[:LINES]]
    if len(lines) > LINES:
        shown[-1] = shown[-1][: LINE - 1].rstrip("…") + "…"
    return shown
