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
        default="", db_default="", blank=True, help_text="the name of a drawing of ours; empty: initials in its colour"
    )
    when_off = models.TextField(
        db_default="wait",
        choices=[("wait", "wait"), ("refund", "refund")],
        help_text="what becomes of paid orders while it is switched off",
    )

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_operator"
        constraints = [
            models.CheckConstraint(name="catalogue_operator_logo", condition=Q(logo__regex=r"^[a-z0-9-]{0,40}$")),
            models.CheckConstraint(name="catalogue_operator_when_off", condition=Q(when_off__in=["wait", "refund"])),
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
    category = models.TextField(default="airtime", db_default="airtime", help_text="what it is: airtime, data, pin")
    name_zh = models.TextField(default="", db_default="", blank=True)
    name_en = models.TextField(default="", db_default="", blank=True)
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
        default=False, db_default=False, help_text="delivers what is on its price list, at the cost that stands there"
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


ACTIONS = ["prefer", "only", "never", "hold"]
ZONE = r"^(UTC|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_+-]+)+)$"
NAMES = r"^([a-z0-9_]+( [a-z0-9_]+)*)?$"


class Rule(models.Model):
    """What a person decided of routing: which suppliers come first, alone, or not at all, or that nobody is asked yet.

    What is empty matches everything. Minutes are of the local day in `zone`; a span may cross midnight.
    """

    id = models.TextField(primary_key=True)
    position = models.IntegerField(default=100, help_text="smaller is looked at first")
    action = models.TextField(choices=[(action, action) for action in ACTIONS])
    suppliers = models.TextField(blank=True, default="", help_text="names, divided by spaces; hold: empty means all")
    operator = models.ForeignKey(Operator, on_delete=models.PROTECT, null=True, blank=True, related_name="rules")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, null=True, blank=True, related_name="rules")
    region = models.TextField(null=True, blank=True, help_text="a part of the province's name, such as 广东")
    channel = models.TextField(null=True, blank=True)
    partner = models.TextField(null=True, blank=True)
    least_minor = models.BigIntegerField(null=True, blank=True)
    most_minor = models.BigIntegerField(null=True, blank=True)
    from_minute = models.SmallIntegerField(null=True, blank=True)
    to_minute = models.SmallIntegerField(null=True, blank=True)
    zone = models.TextField(default="Asia/Shanghai")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    says = models.TextField(help_text="why, for whoever reads it next year")
    made_by = models.TextField()
    enabled = models.BooleanField(default=True)

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_rule"
        constraints = [
            models.CheckConstraint(
                name="catalogue_rule_action",
                condition=Q(action__in=ACTIONS) & (Q(action="hold") | ~Q(suppliers="")),
            ),
            models.CheckConstraint(
                name="catalogue_rule_words", condition=Q(suppliers__regex=NAMES, zone__regex=ZONE) & ~Q(says="")
            ),
            models.CheckConstraint(
                name="catalogue_rule_hours",
                condition=Q(from_minute__isnull=True, to_minute__isnull=True)
                | Q(
                    from_minute__isnull=False,  # a comparison with nothing would be true enough for a CHECK
                    to_minute__isnull=False,
                    from_minute__gte=0,
                    from_minute__lt=1440,
                    to_minute__gte=0,
                    to_minute__lt=1440,
                )
                & ~Q(from_minute=F("to_minute")),
            ),
            models.CheckConstraint(
                name="catalogue_rule_face",
                condition=Q(least_minor__isnull=True)
                | Q(most_minor__isnull=True)
                | Q(most_minor__gte=F("least_minor")),
            ),
            models.CheckConstraint(
                name="catalogue_rule_time",
                condition=Q(starts_at__isnull=True) | Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Maintenance(models.Model):
    """A pause that a supplier announced, of all operators' credit or of one's."""

    id = models.TextField(primary_key=True)
    supplier = models.TextField()
    operator = models.ForeignKey(Operator, on_delete=models.PROTECT, null=True, blank=True, related_name="pauses")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    says = models.TextField(blank=True, default="")
    made_by = models.TextField()

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_maintenance"
        constraints = [
            models.CheckConstraint(name="catalogue_maintenance_span", condition=Q(ends_at__gt=F("starts_at"))),
        ]

    def __str__(self) -> str:
        return self.id


class Limits(models.Model):
    """How far a supplier is trusted: calls at once, calls a second, attempts of one order, and when its breaker opens."""

    supplier = models.TextField(primary_key=True)
    enabled = models.BooleanField(default=True)
    most_in_flight = models.IntegerField(default=2_000, help_text="calls that one worker holds there at once")
    most_per_second = models.IntegerField(null=True, blank=True, help_text="of all workers together; empty: no limit")
    most_tries = models.SmallIntegerField(default=12, help_text="attempts of one order")
    opens_at_bp = models.IntegerField(default=5_000, help_text="basis points of answers that open the breaker")
    least_answers = models.IntegerField(default=20, help_text="in two minutes, before the breaker may open")
    rest_s = models.IntegerField(default=30, help_text="its first rest; each next one is twice as long, up to 600 s")

    class Meta:
        app_label = "catalogue"
        db_table = "catalogue_limits"
        constraints = [
            models.CheckConstraint(
                name="catalogue_limits_sane",
                condition=Q(
                    most_in_flight__gte=1,
                    most_in_flight__lte=100_000,
                    most_tries__gte=1,
                    most_tries__lte=100,
                    opens_at_bp__gte=1,
                    opens_at_bp__lte=10_000,
                    least_answers__gte=1,
                    rest_s__gte=1,
                    rest_s__lte=600,
                )
                & (Q(most_per_second__isnull=True) | Q(most_per_second__gte=1, most_per_second__lte=100_000)),
            ),
        ]

    def __str__(self) -> str:
        return self.supplier


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
