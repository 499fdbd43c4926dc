"""Read-only views of vouchers for the back office; no PIN is anywhere to be read."""

from django.db import models


class Batch(models.Model):
    """Scratch cards that were made together."""

    code = models.TextField(primary_key=True)
    minor = models.BigIntegerField()
    currency = models.TextField()
    count = models.IntegerField()
    expires_at = models.DateTimeField()
    made_by = models.TextField()
    made_at = models.DateTimeField()
    printed_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "vouchers"
        db_table = "vouchers_batch"
        managed = False

    def __str__(self) -> str:
        return self.code


class Voucher(models.Model):
    """One voucher by its serial."""

    serial = models.TextField(primary_key=True)
    kind = models.TextField()
    minor = models.BigIntegerField()
    currency = models.TextField()
    state = models.TextField()
    expires_at = models.DateTimeField()
    spent_on = models.TextField(null=True)
    changed_at = models.DateTimeField()

    class Meta:
        app_label = "vouchers"
        db_table = "vouchers_voucher"
        managed = False

    def __str__(self) -> str:
        return self.serial
