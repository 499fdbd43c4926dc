"""Top up one number and wait until it is decided: top_up.py +8619912345678 50.00 [reference]"""

import os
import sys
from decimal import Decimal

from refill_client import Client, Refused, Unknown


def main(msisdn: str, amount: str, reference: str | None = None) -> int:
    with Client(os.environ.get("REFILL_API_URL", "http://127.0.0.1:8000"), os.environ["REFILL_API_KEY"]) as refill:
        try:
            topup = refill.wait(refill.topup(msisdn, Decimal(amount), "CNY", reference=reference))
        except Refused as no:
            print(f"refused: {no.detail}")
            return 1
        except Unknown as doubt:  # keep your customer's money on hold, and ask again with this name
            print(f"nobody answered yet; ask again with {doubt.name}")
            return 2
    print(f"{topup.id} {topup.status} ({topup.certainty}) for {topup.price} {topup.currency}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
