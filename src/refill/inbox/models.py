"""A read-only view of the inbox for the back office."""

from django.db import models


class InboxNotice(models.Model):
    """A callback as it arrived; the body stays sealed here."""

    their_id = models.TextField(primary_key=True)
    source = models.TextField()
    received_at = models.DateTimeField()
    verified = models.BooleanField()
    about = models.TextField(null=True)
    remark = models.TextField()
    handled_at = models.DateTimeField(null=True)
    seen = models.IntegerField()

    class Meta:
        app_label = "inbox"
        managed = False
        db_table = "inbox_notice"

    def __str__(self) -> str:
        return f"{self.source} {self.their_id}"
