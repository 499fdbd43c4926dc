"""The rows that the product writes for one top-up, as Django models with the indexes that such tables have."""

from django.db import models


class ApiKey(models.Model):
    """A partner's key, found by its hash."""

    digest = models.CharField(max_length=64, unique=True)
    partner = models.CharField(max_length=32)


class Account(models.Model):
    """A balance in minor units that may not fall below its floor."""

    name = models.CharField(max_length=64, unique=True)
    balance = models.BigIntegerField(default=0)
    floor = models.BigIntegerField(default=0)


class Subscriber(models.Model):
    """A number on our own network, its credit and its validity."""

    number = models.CharField(max_length=20, unique=True)
    account = models.OneToOneField(Account, on_delete=models.PROTECT)
    state = models.CharField(max_length=16, default="active")
    active_until = models.DateTimeField()


class Order(models.Model):
    """One top-up."""

    id = models.CharField(max_length=32, primary_key=True)
    payer = models.CharField(max_length=64)
    channel = models.CharField(max_length=16)
    number = models.CharField(max_length=20, db_index=True)
    operator = models.CharField(max_length=16)
    product = models.CharField(max_length=32)
    supplier = models.CharField(max_length=16)
    face_minor = models.BigIntegerField()
    price_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reference = models.CharField(max_length=128)
    payment = models.CharField(max_length=16)
    delivery = models.CharField(max_length=16)
    captured_minor = models.BigIntegerField()
    delivered_minor = models.BigIntegerField()
    created_at = models.DateTimeField()
    final_at = models.DateTimeField(null=True)
    valid_until = models.DateTimeField(null=True)
    due = models.DateTimeField(null=True, db_index=True)


class Name(models.Model):
    """A client's key or reference, unique for ever, with a hash of what was asked under it."""

    name = models.CharField(max_length=300, unique=True)
    content = models.CharField(max_length=64)
    order = models.ForeignKey(Order, on_delete=models.PROTECT)


class Event(models.Model):
    """One transition of an order."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT)
    transition = models.CharField(max_length=16)
    n = models.SmallIntegerField(default=0)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["order", "transition", "n"], name="naive_event_once")]


class Transfer(models.Model):
    """Money from one account to another."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT)
    debit = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="debits")
    credit = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credits")
    minor = models.BigIntegerField()
    at = models.DateTimeField()
