"""The numbers table as the back office reads it; the table itself is written as SQL in the migration."""

from django.db import models


class Number(models.Model):
    """A number that we have met, by its keyed index; the digits are sealed."""

    pk = models.CompositePrimaryKey("cell", "number")
    cell = models.SmallIntegerField()
    number = models.TextField()
    sealed = models.BinaryField()
    learned_operator = models.TextField(null=True)
    learned_at = models.DateTimeField(null=True)
    disowned_operator = models.TextField(null=True)
    disowned_at = models.DateTimeField(null=True)
    first_seen = models.DateTimeField()

    class Meta:
        app_label = "numbers"
        db_table = "numbers_number"
        managed = False

    def __str__(self) -> str:
        return self.number
