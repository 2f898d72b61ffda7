"""Pictures of products that have none of their own."""

from xml.etree import ElementTree

from abacus.catalog.v1 import catalog_pb2
from catalog import seed
from catalog.tests.conftest import product
from deploy import seed as seed_data
from kit.db import Database


async def picture(catalog, sku=1):
    return await catalog.GetProductPicture(catalog_pb2.GetProductPictureRequest(product_id=sku))


def drawn(body):
    """What of the picture is not text."""
    tree = ElementTree.fromstring(body.data)  # noqa: S314  # ours
    return [(one.tag, one.attrib) for one in tree.iter() if not one.text or not one.text.strip()]


async def test_a_product_is_drawn(catalog):
    """As SVG with its name, always the same."""
    await catalog.UpsertProduct(product(1))
    first = await picture(catalog)
    assert "image/svg+xml" == first.content_type
    tree = ElementTree.fromstring(first.data)  # noqa: S314  # ours
    assert "{http://www.w3.org/2000/svg}svg" == tree.tag
    assert "Чайник" == tree.findtext("{*}title")
    assert first == await picture(catalog)


async def test_names_are_text_and_nothing_else(catalog):
    """Whatever they hold, it is shown and not run; what XML cannot write is left out."""
    name = "<script>alert('1')</script> & \"]]>\ufffe\u0085 " + "я" * 90
    await catalog.UpsertProduct(product(1, name))
    body = await picture(catalog)
    tree = ElementTree.fromstring(body.data)  # noqa: S314  # ours
    assert [] == tree.findall(".//{*}script")
    assert name.replace("\ufffe", "") == tree.findtext("{*}title")
    assert 2 >= len(tree.findall("{*}text"))


async def test_categories_and_brands_are_told_apart(catalog, db: Database):
    """Each category of the seed data has a shape of its own, each brand a colour."""
    await seed.load(db, seed_data.products())
    shapes, colors = {}, {}
    for item in seed_data.products()[:64]:
        category = item["attributes"][0]["value_en"]
        shapes.setdefault(category, str(drawn(await picture(catalog, item["sku"]))))
    for item in seed_data.products()[::256]:
        brand = item["attributes"][2]["value_en"]
        colors.setdefault(brand, str(drawn(await picture(catalog, item["sku"]))))
    assert (8, 8) == (len(shapes), len(set(shapes.values())))
    assert (5, 5) == (len(colors), len(set(colors.values())))
