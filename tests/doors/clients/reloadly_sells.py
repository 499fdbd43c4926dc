"""Reloadly's own client, unmodified, pointed at the address of its first argument; prints what every call of it returned."""

import json
import sys
from types import SimpleNamespace

import requests
from reloadly_airtime.airtime.sdk.client.AirtimeAPI import AirtimeAPI
from reloadly_core.core.enums.Environment import Environment

oauth = sys.modules["reloadly_auth.authentication.client.OAuth2ClientCredentialsOperation"]
base, secret, ours, stranger = sys.argv[1:]


def post(url, **named):
    """The address of its sign-in is a literal in the client: only the host is another."""
    return requests.post(url.replace("https://auth.reloadly.com", base), **named)


oauth.requests = SimpleNamespace(post=post)
api = AirtimeAPI(clientId="acme", clientSecret=secret, environment=Environment.AIRTIME_SANDBOX)
api.baseUrl = base
told = {}


def hear(name, call):
    try:
        told[name] = call()
    except Exception as refused:
        told[name] = {"refused": str(refused)}
    return told[name]


hear("balance", lambda: api.accounts().getBalance())
hear("countries", lambda: api.countries().List())
hear("country", lambda: api.countries().getByCode("CN"))
hear("nowhere", lambda: api.countries().getByCode("AQ"))
hear("operators", lambda: api.operators().List_without_filter())
hear("of a country", lambda: api.operators().listByCountryCode_without_Filters("CN"))
operator = hear("detected", lambda: api.operators().autoDetect(ours, "CN"))["operatorId"]
hear("operator", lambda: api.operators().getById_without_filter(operator))
hear("nobody", lambda: api.operators().getById_without_filter(4))
hear("rate", lambda: api.operators().calculateFxRate(operator, 5))
hear("commissions", lambda: api.discounts().List_without_filter())
hear("commission", lambda: api.discounts().getByOperatorId(operator))
hear("promotions", lambda: api.promotions().getByCountryCode("CN"))


def wish(**more):
    phone = {"countryCode": "CN", "number": ours}
    return {"operatorId": operator, "amount": 50.0, "recipientPhone": phone, **more}


sent = hear("sent", lambda: api.topups().send(wish(customIdentifier="acme-1")))
hear("again", lambda: api.topups().send(wish(customIdentifier="acme-1")))
hear("other content", lambda: api.topups().send(wish(customIdentifier="acme-1", amount=100)))
hear("status", lambda: api.topups().status(sent["transactionId"]))
hear("unnamed", lambda: api.topups().send(wish(amount=20)))
hear("unnamed again", lambda: api.topups().send(wish(amount=20)))
hear("later", lambda: api.topups().asyncTopUp(wish(customIdentifier="acme-2", useLocalAmount="false")))
hear("too much", lambda: api.topups().send(wish(amount=900)))
hear("not a number", lambda: api.topups().send(wish(recipientPhone={"countryCode": "CN", "number": "12345"})))
elsewhere = {"countryCode": "CN", "number": stranger}
cmcc = api.operators().autoDetect(stranger, "CN")["operatorId"]
hear("unsure", lambda: api.topups().send(wish(recipientPhone=elsewhere, operatorId=cmcc, customIdentifier="acme-3")))
hear("history", lambda: api.reports().transactionHistory().List_without_filter())
hear("one of it", lambda: api.reports().transactionHistory().getById(sent["transactionId"]))
hear("not ours", lambda: api.topups().status(7))
print(json.dumps(told))
