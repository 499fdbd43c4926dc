"""Read-only views of orders for the back office; only the flow writes these tables."""

from django.db import models


class Order(models.Model):
    """One top-up. The number stays an index here; the back office reveals it through `store.timeline`."""

    id = models.TextField(primary_key=True)
    cell = models.SmallIntegerField()
    payer = models.TextField()
    channel = models.TextField()
    number = models.TextField()
    operator = models.TextField()
    product = models.TextField()
    supplier = models.TextField()
    face_minor = models.BigIntegerField()
    face_currency = models.TextField()
    price_minor = models.BigIntegerField()
    currency = models.TextField()
    reference = models.TextField(null=True)
    payment = models.TextField()
    delivery = models.TextField()
    captured_minor = models.BigIntegerField()
    refunded_minor = models.BigIntegerField()
    delivered_minor = models.BigIntegerField()
    reason = models.TextField()
    created_at = models.DateTimeField()
    final_at = models.DateTimeField(null=True)
    due = models.DateTimeField(null=True)

    class Meta:
        app_label = "topup"
        managed = False
        db_table = "topup_order"
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.id
