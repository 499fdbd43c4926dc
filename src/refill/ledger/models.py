"""Read-only views of the book for the back office; only `book` writes these tables."""

from django.db import models


class LedgerAccount(models.Model):
    """An account with its balance (credit minus debit, minor units)."""

    name = models.TextField(primary_key=True)
    cell = models.SmallIntegerField()
    currency = models.CharField(max_length=3)
    balance = models.BigIntegerField()
    floor = models.BigIntegerField(null=True)
    opened_at = models.DateTimeField()

    class Meta:
        app_label = "ledger"
        managed = False
        db_table = "ledger_account"

    def __str__(self) -> str:
        return self.name


class LedgerTransfer(models.Model):
    """One leg of an entry."""

    id = models.TextField(primary_key=True)
    cell = models.SmallIntegerField()
    debit = models.TextField()
    credit = models.TextField()
    minor = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        app_label = "ledger"
        managed = False
        db_table = "ledger_transfer"

    def __str__(self) -> str:
        return self.id
