"""Who signs in, how often something was tried, and what staff did with other people's data."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Person(AbstractUser):
    """Someone who signs in with a password: staff today, clerks and customers later."""

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"


class Tally(models.Model):
    """How often `key` did something in the span that starts at `since`; written by `limits` only."""

    key = models.CharField(max_length=64)
    since = models.BigIntegerField()  # Unix seconds
    count = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "since"], name="one_tally_per_span")]

    def __str__(self) -> str:
        return f"{self.key} {self.count}"


class StaffAct(models.Model):
    """One act of a member of staff that touched what is protected: a number shown, a case settled. Never changed."""

    who = models.CharField(max_length=150)
    what = models.CharField(max_length=40)
    subject = models.CharField(max_length=64)
    note = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        verbose_name = "staff act"
        verbose_name_plural = "staff acts"
        indexes = [models.Index(fields=["subject"], name="people_act_subject")]

    def __str__(self) -> str:
        return f"{self.who} {self.what} {self.subject}"
