"""SIM cards, subscribers and expiring balances of our own network; the hot tables are SQL in the migration."""

from django.db import models
from django.db.models import Q


class Card(models.Model):
    """A SIM, USIM or eUICC by its printed serial number. `keys_sealed` (K and OPc) goes in, never out to a person."""

    iccid = models.TextField(primary_key=True)
    imsi = models.TextField(unique=True)
    kind = models.TextField(choices=[("SIM", "SIM"), ("USIM", "USIM"), ("eUICC", "eUICC")])
    keys_sealed = models.BinaryField(editable=False)
    status = models.TextField(
        default="stock", choices=[(word, word) for word in ("stock", "in_use", "replaced", "lost")]
    )
    subscriber_id = models.TextField(null=True, blank=True)
    batch = models.TextField()
    imported_at = models.DateTimeField()

    class Meta:
        app_label = "cards"
        db_table = "cards_card"
        indexes = [models.Index(fields=["subscriber_id"], name="cards_card_subscriber")]
        constraints = [
            models.CheckConstraint(name="cards_card_kind", condition=Q(kind__in=["SIM", "USIM", "eUICC"])),
            models.CheckConstraint(
                name="cards_card_status", condition=Q(status__in=["stock", "in_use", "replaced", "lost"])
            ),
            models.CheckConstraint(
                name="cards_card_in_use", condition=~Q(status="in_use") | Q(subscriber_id__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.iccid


class Subscriber(models.Model):
    """A subscriber of our own network as the back office reads it."""

    pk = models.CompositePrimaryKey("cell", "id")
    cell = models.SmallIntegerField()
    id = models.TextField()
    number = models.TextField(null=True)
    iccid = models.TextField()
    network = models.TextField()
    currency = models.TextField()
    state = models.TextField()
    active_until = models.DateTimeField(null=True)
    first_until = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "cards"
        db_table = "cards_subscriber"
        managed = False

    def __str__(self) -> str:
        return self.id


class Bucket(models.Model):
    """A grant that expires, each an account of its own, as the back office reads it."""

    pk = models.CompositePrimaryKey("cell", "id")
    cell = models.SmallIntegerField()
    id = models.TextField()
    subscriber = models.TextField()
    kind = models.TextField()
    currency = models.TextField()
    account = models.TextField()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        app_label = "cards"
        db_table = "cards_bucket"
        managed = False

    def __str__(self) -> str:
        return self.id
