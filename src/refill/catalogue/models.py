"""What is on sale: operators, their products with a price, and who supplies them at what cost."""

from django.db import models
from django.db.models import F, Q

POLICIES = ["from_today", "from_expiry", "longer", "never"]


class Operator(models.Model):
    """A mobile network whose credit we sell; our own network among them."""

    id = models.TextField(primary_key=True)
    name_zh = models.TextField()
    name_en = models.TextField()
    country = models.CharField(max_length=2)
    currency = models.CharField(max_length=3)
    own_network = models.BooleanField(default=False)
    colour = models.TextField(default="#334155", help_text="of the brand, as #rrggbb")
    position = models.IntegerField(default=100, help_text="smaller comes first on the pages")
    enabled = models.BooleanField(default=True)
    logo = models.TextField(
        default="", blank=True, help_text="the name of a drawing of ours; empty: initials in its colour"
    )

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_operator"
        constraints = [
            models.CheckConstraint(name="catalogue_operator_logo", condition=Q(logo__regex=r"^[a-z0-9-]{0,40}$")),
            models.CheckConstraint(name="catalogue_operator_colour", condition=Q(colour__regex=r"^#[0-9a-f]{6}$")),
        ]

    def __str__(self) -> str:
        return self.name_en


class Product(models.Model):
    """One denomination (`fixed`) or a span of amounts (`range`) of an operator, with its retail price and validity.

    A fixed product has a price of its own or a share of the face value; a range only the share.
    """

    id = models.TextField(primary_key=True)
    operator = models.ForeignKey(Operator, on_delete=models.PROTECT, related_name="products")
    kind = models.TextField(choices=[("fixed", "fixed"), ("range", "range")])
    face_minor = models.BigIntegerField(help_text="the face value; of a range the smallest")
    max_face_minor = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3)
    retail_price_minor = models.BigIntegerField(null=True, blank=True)
    retail_bp = models.IntegerField(default=10_000, help_text="price as basis points of the face value")
    validity_days = models.IntegerField(default=0)
    validity_policy = models.TextField(default="never", choices=[(policy, policy) for policy in POLICIES])
    enabled = models.BooleanField(default=True)
    category = models.TextField(default="airtime", help_text="what it is: airtime, data, pin")
    name_zh = models.TextField(default="", blank=True)
    name_en = models.TextField(default="", blank=True)
    data_mb = models.BigIntegerField(null=True, blank=True, help_text="of a bundle; 0: without a limit")
    minutes = models.IntegerField(null=True, blank=True, help_text="of calls in a bundle; 0: without a limit")
    texts = models.IntegerField(null=True, blank=True, help_text="messages in a bundle; 0: without a limit")
    lasts_hours = models.IntegerField(null=True, blank=True, help_text="how long a bundle may be used")

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_product"
        constraints = [
            models.CheckConstraint(
                name="catalogue_product_category", condition=Q(category__regex=r"^[a-z][a-z0-9_]{1,30}$")
            ),
            models.CheckConstraint(
                name="catalogue_product_bundle",
                condition=(Q(data_mb__isnull=True) | Q(data_mb__gte=0))
                & (Q(minutes__isnull=True) | Q(minutes__gte=0))
                & (Q(texts__isnull=True) | Q(texts__gte=0))
                & (Q(lasts_hours__isnull=True) | Q(lasts_hours__gt=0)),
            ),
            models.CheckConstraint(name="catalogue_product_face", condition=Q(face_minor__gt=0)),
            models.CheckConstraint(
                name="catalogue_product_range",
                condition=Q(kind="fixed", max_face_minor__isnull=True)
                | Q(
                    kind="range",
                    max_face_minor__isnull=False,  # a comparison with nothing would be true enough for a CHECK
                    max_face_minor__gte=F("face_minor"),
                    retail_price_minor__isnull=True,
                ),
            ),
            models.CheckConstraint(
                name="catalogue_product_price",
                condition=(Q(retail_price_minor__isnull=True) | Q(retail_price_minor__gt=0))
                & Q(retail_bp__gt=0, retail_bp__lte=20_000),
            ),
            models.CheckConstraint(
                name="catalogue_product_validity",
                condition=Q(validity_policy__in=POLICIES, validity_days__gte=0, validity_days__lte=3650),
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Supply(models.Model):
    """That a supplier delivers an operator's credit (or one product of it) at a cost; the lowest `priority` first."""

    id = models.TextField(primary_key=True)
    operator = models.ForeignKey(Operator, on_delete=models.PROTECT, related_name="supplies")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, null=True, blank=True, related_name="supplies")
    supplier = models.TextField()
    cost_minor = models.BigIntegerField(null=True, blank=True)
    cost_bp = models.IntegerField(default=10_000, help_text="cost as basis points of the face value")
    cost_currency = models.CharField(
        max_length=3,
        null=True,
        blank=True,
        help_text="in which the supplier bills; empty: the currency of the face value",
    )
    priority = models.IntegerField(default=100)
    enabled = models.BooleanField(default=True)
    by_list = models.BooleanField(
        default=False, help_text="delivers what is on its price list, at the cost that stands there"
    )

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_supply"
        constraints = [
            models.CheckConstraint(
                name="catalogue_supply_cost",
                condition=(Q(cost_minor__isnull=True) | Q(cost_minor__gt=0, product__isnull=False))
                & Q(cost_bp__gt=0, cost_bp__lte=20_000),
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Version(models.Model):
    """One row, raised by triggers whenever the tables above change, so that readers know when to read again."""

    id = models.SmallIntegerField(primary_key=True)
    version = models.BigIntegerField()

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_version"
        constraints = [models.CheckConstraint(name="catalogue_version_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return str(self.version)
