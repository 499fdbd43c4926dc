"""Where partners want to hear what happened; what was told and what became of it is written as SQL in the migrations."""

from django.db import models
from django.db.models import Q

from refill.accounts.models import Partner

STATES = ["active", "disabled", "deleted"]


class Endpoint(models.Model):
    """An address of a partner. Written by `refill.notify.endpoints` alone; its secrets are sealed by the vault."""

    id = models.TextField(primary_key=True)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="endpoints", db_index=False)
    url = models.TextField()
    events = models.TextField(default="", help_text="words separated by a space; empty: all of them")
    description = models.TextField(default="")
    state = models.TextField(default="active", choices=[(state, state) for state in STATES])
    why = models.TextField(default="", help_text="why it is disabled: asked, gone or failing")
    secret = models.BinaryField()
    former_secret = models.BinaryField(null=True, help_text="the one before, while both sign")
    former_until = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True, help_text="the first failure since something was accepted")
    low_minor = models.BigIntegerField(null=True, help_text="tell when the float is below this")
    low_told = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        app_label = "notify"
        db_table = "notify_endpoint"
        indexes = [
            models.Index(fields=["partner"], name="notify_endpoint_partner"),
            models.Index(fields=["state"], name="notify_endpoint_state"),
        ]
        constraints = [
            models.CheckConstraint(name="notify_endpoint_states", condition=Q(state__in=STATES)),
            models.CheckConstraint(
                name="notify_endpoint_former",
                condition=Q(former_secret__isnull=True, former_until__isnull=True)
                | Q(former_secret__isnull=False, former_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.url
