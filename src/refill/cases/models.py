"""A view of cases for the back office; transitions go through `refill.cases`."""

from django.db import models


class Case(models.Model):
    """Something that a person must settle, with an owner and a deadline."""

    id = models.TextField(primary_key=True)
    kind = models.TextField()
    about = models.TextField()
    says = models.TextField()
    minor = models.BigIntegerField(null=True)
    currency = models.TextField(null=True)
    opened_at = models.DateTimeField()
    due_at = models.DateTimeField()
    state = models.TextField()
    assigned_to = models.TextField(null=True)
    resolved_by = models.TextField(null=True)
    resolution = models.TextField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "cases"
        managed = False
        db_table = "cases_case"

    def __str__(self) -> str:
        return self.id
