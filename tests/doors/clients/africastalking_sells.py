"""Africa's Talking's own client, unmodified but for its private base address; prints what its calls returned."""

import json
import sys

import africastalking

base, secret, ours = sys.argv[1:]
africastalking.initialize("acme", secret)
airtime, application = africastalking.Airtime, africastalking.Application
airtime._baseUrl = base + "/version1/airtime"
application._baseUrl = base + "/version1"
told = {"user": application.fetch_application_data()}
told["sent"] = airtime.send(phone_number=ours, amount="50", currency_code="CNY", idempotency_key="k-1")
told["again"] = airtime.send(phone_number=ours, amount="50", currency_code="CNY", idempotency_key="k-1")
# No key is given, but the client sends the last one again.
told["leaked"] = airtime.send(phone_number=ours, amount="20", currency_code="CNY")
fresh = africastalking.AirtimeService("acme", secret)
fresh._baseUrl = base + "/version1/airtime"
some = [
    {"phoneNumber": ours, "amount": "20", "currency_code": "CNY"},
    {"phoneNumber": "+8612345678", "amount": "20", "currency_code": "CNY"},
    {"phoneNumber": ours, "amount": "20", "currency_code": "KES"},
]
told["some"] = fresh.send(recipients=some)
told["unnamed again"] = fresh.send(phone_number=ours, amount="20", currency_code="CNY")
print(json.dumps(told))
