"""The four Chinese operators and our demonstration network, with their usual denominations; the back office changes them."""

from django.db import migrations

CHINESE = [
    ("cmcc", "中国移动", "China Mobile", "#0085d0"),
    ("cunicom", "中国联通", "China Unicom", "#d3222a"),
    ("ctcc", "中国电信", "China Telecom", "#0a5fb4"),
    ("cbn", "中国广电", "China Broadnet", "#d7000f"),
]
FACES = [10, 20, 30, 50, 100, 200, 300, 500]
RETAIL_BP = {10: 10_000, 20: 10_000, 30: 9_990, 50: 9_980}  # small amounts earn nothing; the others cost 99.6 %
SUPPLIER = "northtel"

# Credit for our own network: the more, the longer it is served.
DEMO_DAYS = {10: 15, 20: 30, 30: 30, 50: 60, 100: 90, 200: 180}


def fill(apps, schema_editor):
    operator = apps.get_model("catalogue", "Operator").objects
    product = apps.get_model("catalogue", "Product").objects
    supply = apps.get_model("catalogue", "Supply").objects
    for position, (id_, name_zh, name_en, colour) in enumerate(CHINESE, 1):
        operator.create(
            id=id_,
            name_zh=name_zh,
            name_en=name_en,
            country="CN",
            currency="CNY",
            colour=colour,
            position=position * 10,
        )
        product.bulk_create(
            product.model(
                id=f"{id_}-{face}",
                operator_id=id_,
                kind="fixed",
                face_minor=face * 100,
                currency="CNY",
                retail_bp=RETAIL_BP.get(face, 9_960),
            )
            for face in FACES
        )
        supply.create(id=f"{id_}-{SUPPLIER}", operator_id=id_, supplier=SUPPLIER, cost_bp=9_920, priority=10)
    operator.create(
        id="demo",
        name_zh="瑞充移动",
        name_en="Refill Mobile",
        country="CN",
        currency="CNY",
        colour="#0f766e",
        position=50,
        own_network=True,
    )
    demo = {"operator_id": "demo", "currency": "CNY", "retail_bp": 9_960, "validity_policy": "from_expiry"}
    product.bulk_create(
        [
            *(
                product.model(id=f"demo-{face}", kind="fixed", face_minor=face * 100, validity_days=days, **demo)
                for face, days in DEMO_DAYS.items()
            ),
            product.model(id="demo-any", kind="range", face_minor=100, max_face_minor=50_000, validity_days=15, **demo),
        ]
    )


def empty(apps, schema_editor):
    for name in ("Supply", "Product", "Operator"):
        apps.get_model("catalogue", name).objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_initial")]
    operations = [migrations.RunPython(fill, empty)]
