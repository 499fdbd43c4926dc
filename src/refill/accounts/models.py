"""Who deals with us: partners, who sell through our API, and the keys they show."""

from django.db import models
from django.db.models import Q


class Partner(models.Model):
    """A platform that sells top-ups through our API and pays from a float; `commission_bp` of the face value is its own."""

    id = models.TextField(primary_key=True)
    name = models.TextField(unique=True)
    currency = models.CharField(max_length=3)
    commission_bp = models.IntegerField(default=0, help_text="basis points of the face value: 40 is 0.40 %")
    credit_limit_minor = models.BigIntegerField(default=0, help_text="how far the float may go below zero")
    time_zone = models.TextField(
        default="Asia/Shanghai", db_default="Asia/Shanghai", help_text="whose midnight ends its day: an IANA name"
    )
    status = models.TextField(default="active", choices=[("active", "active"), ("suspended", "suspended")])
    created_at = models.DateTimeField()

    class Meta:
        app_label = "accounts"
        db_table = "accounts_partner"
        constraints = [
            models.CheckConstraint(
                name="accounts_partner_commission", condition=Q(commission_bp__gte=0, commission_bp__lte=10_000)
            ),
            models.CheckConstraint(name="accounts_partner_credit_limit", condition=Q(credit_limit_minor__gte=0)),
            models.CheckConstraint(name="accounts_partner_status", condition=Q(status__in=["active", "suspended"])),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """One key of a partner, known by its digest only; `prefix` and `last4` let a person tell keys apart."""

    id = models.TextField(primary_key=True)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="keys")
    prefix = models.TextField()
    last4 = models.TextField()
    digest = models.TextField(unique=True)
    scopes = models.TextField(help_text="words separated by a space: topup balance")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "accounts"
        db_table = "accounts_apikey"

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last4}"
