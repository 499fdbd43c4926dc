"""The unmodified client of `django-vtpass`, pointed here by its own setting; prints what its calls returned."""

import json
import sys

from django.conf import settings

base, secret, ours = sys.argv[1:]
settings.configure(
    VTPASS={"BASE_URL": base + "/api/", "API_KEY": secret, "PUBLIC_KEY": "pk", "SECRET_KEY": "sk"}, USE_TZ=True
)

from vtpass.client import VTpassClient  # noqa: E402 - it reads the settings when it is imported
from vtpass.utils import generate_request_id  # noqa: E402


def seen(purchase):
    return {
        "status": str(purchase.status),
        "code": purchase.code,
        "paid": str(purchase.total_amount),
        "id": purchase.vtpass_transaction_id,
    }


client = VTpassClient()
name = generate_request_id()
told = {"balance": str(client.get_balance()), "services": client.get_services("airtime")}
told["variations"] = client.get_variations("demo")["variations"]
told["paid"] = seen(client.pay(request_id=name, serviceID="demo", amount=50, phone=ours))
told["again"] = seen(client.pay(request_id=name, serviceID="demo", amount=50, phone=ours))
told["other content"] = seen(client.pay(request_id=name, serviceID="demo", amount=20, phone=ours))
told["asked"] = seen(client.requery(name))
told["never"] = seen(client.requery(generate_request_id()))
told["by plan"] = seen(client.pay(serviceID="demo", variation_code=told["variations"][0]["variation_code"], phone=ours))
told["no such"] = seen(client.pay(serviceID="nobody", amount=50, phone=ours))
told["bad name"] = seen(client.pay(request_id="acme", serviceID="demo", amount=50, phone=ours))
told["too much"] = seen(client.pay(serviceID="demo", amount=900, phone=ours))
told["no number"] = seen(client.pay(serviceID="demo", amount=50, phone="12345"))
print(json.dumps(told))
