"""Lists that staff only read: cases, orders, partners, operators, products, subscribers, and what staff did."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from refill.accounts.models import Partner
from refill.cases.models import Case
from refill.catalogue.goods import CATEGORIES, Bundle, initials
from refill.catalogue.models import Operator, Product
from refill.channels.backoffice import desk, words
from refill.channels.backoffice.masking import mask
from refill.channels.backoffice.models import SubscriberRow
from refill.channels.backoffice.site import site
from refill.channels.people.models import StaffAct
from refill.money import Money
from refill.topup.models import Order


def column(field: str, label: Any, *, boolean: bool = False) -> Callable[[Any], Any]:
    """A field under a heading in the reader's language; models know only their own names."""

    @admin.display(description=label, ordering=field, boolean=boolean)
    def read(row: Any) -> Any:
        value = getattr(row, field)
        return bool(value) if boolean else value if value not in (None, "") else "—"

    read.__name__ = field
    return read


class ReadOnly(ModelAdmin):
    """Looks, never writes: what moves here moves through the spine."""

    heading: Any = ""

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        model._meta.verbose_name_plural = self.heading  # the only place from which breadcrumbs take it
        super().__init__(model, admin_site)

    list_per_page = 50
    show_full_result_count = False
    list_disable_select_all = True
    actions = None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": self.heading, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Case, site=site)
class Cases(ReadOnly):
    heading = _("Cases")
    list_display = ("trouble", "about_what", column("says", _("What")), "standing", "owner", column("due_at", _("Due")))
    list_filter = ("kind", "state", "assigned_to")
    ordering = ("due_at",)

    @admin.display(description=_("kind"), ordering="kind")
    def trouble(self, row: Case) -> str:
        return str(words.kind(row.kind))

    @admin.display(description=_("about"))
    def about_what(self, row: Case) -> str:
        return mask(row.about)

    @admin.display(description=_("state"), ordering="state")
    def standing(self, row: Case) -> str:
        return str(words.state(row.state))

    @admin.display(description=_("assigned to"), ordering="assigned_to")
    def owner(self, row: Case) -> str:
        return row.assigned_to or "—"

    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_more: Any) -> HttpResponse:
        from django.contrib.admin.utils import unquote

        return redirect("staff:case", unquote(object_id))


@admin.register(Order, site=site)
class Orders(ReadOnly):
    heading = _("Orders")
    list_display = (
        column("id", _("Order")),
        column("operator", _("Operator")),
        "face",
        "price",
        "paid",
        "delivered",
        column("created_at", _("Time")),
    )
    list_filter = ("payment", "delivery", "operator", "channel")
    ordering = ("-id",)

    @admin.display(description=_("face value"))
    def face(self, row: Order) -> str:
        return str(Money(row.face_minor, row.face_currency))

    @admin.display(description=_("price"))
    def price(self, row: Order) -> str:
        return str(Money(row.price_minor, row.currency))

    @admin.display(description=_("payment"), ordering="payment")
    def paid(self, row: Order) -> str:
        return str(words.state(row.payment))

    @admin.display(description=_("delivery"), ordering="delivery")
    def delivered(self, row: Order) -> str:
        return str(words.state(row.delivery))

    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_more: Any) -> HttpResponse:
        return redirect(reverse("staff:index") + f"order/{object_id.replace('_5F', '_')}")


@admin.register(Partner, site=site)
class Partners(ReadOnly):
    heading = _("Partners")
    list_display = (
        column("name", _("Name")),
        column("id", _("Id")),
        column("currency", _("Currency")),
        column("commission_bp", _("Commission, 0.01 %")),
        column("status", _("State")),
        column("created_at", _("Since")),
    )
    list_filter = ("status",)
    search_fields = ("name", "id")


@admin.register(Operator, site=site)
class Operators(ReadOnly):
    heading = _("Operators")
    list_display = (
        "chip",
        column("name_zh", _("Chinese name")),
        column("name_en", _("English name")),
        column("currency", _("Currency")),
        column("own_network", _("Our network"), boolean=True),
        column("enabled", _("On sale"), boolean=True),
    )
    ordering = ("position", "id")

    @admin.display(description="")
    def chip(self, row: Operator) -> str:
        drawn = (
            '<svg width="30" height="22" aria-hidden="true"><rect width="30" height="22" rx="5" fill="{}"/>'
            '<text x="15" y="15" text-anchor="middle" font-size="11" fill="#fff">{}</text></svg>'
        )
        return format_html(drawn, row.colour, initials(row.name_zh, row.name_en)[1])


@admin.register(Product, site=site)
class Products(ReadOnly):
    heading = _("Products")
    list_display = (
        column("id", _("Product")),
        column("operator", _("Operator")),
        "goods",
        column("kind", _("Kind")),
        "face",
        "retail",
        column("validity_days", _("Validity, days")),
        column("enabled", _("On sale"), boolean=True),
    )
    list_filter = ("operator", "category", "kind", "enabled")
    ordering = ("operator", "kind", "face_minor")

    @admin.display(description=_("goods"), ordering="category")
    def goods(self, row: Product) -> str:
        kind = CATEGORIES.get(row.category)
        english = get_language() == "en"
        bundle = Bundle(row.data_mb, row.minutes, row.texts, row.lasts_hours)
        named = (kind.name_en if english else kind.name_zh) if kind else row.category
        words = bundle.words_en() if english else bundle.words_zh()
        return f"{named}: {words}" if words else named

    @admin.display(description=_("face value"), ordering="face_minor")
    def face(self, row: Product) -> str:
        least = Money(row.face_minor, row.currency)
        return (
            str(least) if row.max_face_minor is None else f"{least.text()} – {Money(row.max_face_minor, row.currency)}"
        )

    @admin.display(description=_("retail price"))
    def retail(self, row: Product) -> str:
        if row.retail_price_minor is not None:
            return str(Money(row.retail_price_minor, row.currency))
        return f"{row.retail_bp / 100:.2f} %"


class MaskedNumbers(ChangeList):
    """Opens the numbers of one page of the list in one go, and keeps them only masked."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        shown = desk.masked(row.number for row in self.result_list if row.number)
        for row in self.result_list:
            row.masked = shown.get(row.number, "—")


@admin.register(SubscriberRow, site=site)
class Subscribers(ReadOnly):
    heading = _("Subscribers")
    list_display = (
        "phone",
        column("iccid", _("Card (ICCID)")),
        "standing",
        column("active_until", _("Valid until")),
        column("created_at", _("Since")),
    )
    list_display_links = None
    list_filter = ("state", "network")
    search_fields = ("iccid__exact",)

    def get_changelist(self, request: HttpRequest, **_more: Any) -> type[ChangeList]:
        return MaskedNumbers

    @admin.display(description=_("number"))
    def phone(self, row: Any) -> str:
        return row.masked

    @admin.display(description=_("state"), ordering="state")
    def standing(self, row: SubscriberRow) -> str:
        return row.state


@admin.register(StaffAct, site=site)
class StaffActs(ReadOnly):
    heading = _("What staff did")
    list_display = (
        column("at", _("Time")),
        column("who", _("Who")),
        column("what", _("What")),
        column("subject", _("About")),
        column("note", _("Why")),
    )
    list_display_links = None
    list_filter = ("what", "who")
    ordering = ("-id",)
