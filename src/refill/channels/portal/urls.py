"""Addresses of the customers' pages; none of them ever carries a number."""

from django.urls import path, re_path

from refill.channels.portal import purse, views

ORDER = "tu_[0-9a-z]{24}"

urlpatterns = [
    path("", views.start, name="start"),
    path("offers", views.offers, name="offers"),
    path("countries", views.country_list, name="countries"),
    path("language", views.language, name="language"),
    path("forget", views.forget, name="forget"),
    path("card", purse.card, name="card"),
    path("card/operator", purse.operator, name="card-operator"),
    path("card/redeem", purse.redeem, name="redeem"),
    path("balance", purse.balance, name="balance"),
    path("d/<slug:draft_id>", views.draft, name="draft"),
    path("d/<slug:draft_id>/confirm", views.confirm, name="confirm"),
    re_path(rf"^o/(?P<order_id>{ORDER})$", views.order, name="order"),
    re_path(rf"^o/(?P<order_id>{ORDER})/state$", views.state, name="state"),
    re_path(rf"^o/(?P<order_id>{ORDER})/pay$", views.pay, name="pay"),
    re_path(rf"^o/(?P<order_id>{ORDER})/who/(?P<method>[a-z][a-z0-9_]{{1,30}})$", views.who, name="who"),
    re_path(rf"^o/(?P<order_id>{ORDER})/inside$", views.inside, name="inside"),
    re_path(rf"^o/(?P<order_id>{ORDER})/back$", views.back, name="back"),
    re_path(rf"^o/(?P<order_id>{ORDER})/cancel$", views.cancel, name="cancel"),
    re_path(rf"^o/(?P<order_id>{ORDER})/again$", views.again, name="again"),
    re_path(rf"^o/(?P<order_id>{ORDER})/receipt$", views.receipt, name="receipt"),
    re_path(rf"^r/(?P<text>{ORDER}:[A-Za-z0-9_-]{{20,60}})$", views.signed, name="signed"),
]
