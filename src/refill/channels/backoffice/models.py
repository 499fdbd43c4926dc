"""Read-models that a list of the staff's site needs and no other package has."""

from django.db import models


class SubscriberRow(models.Model):
    """A subscriber of our own network under its own id; the number stays an index until a page masks it."""

    id = models.TextField(primary_key=True)
    number = models.TextField(null=True)
    iccid = models.TextField()
    network = models.TextField()
    currency = models.TextField()
    state = models.TextField()
    active_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "cards_subscriber"
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.id
