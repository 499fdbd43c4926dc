"""Top up the numbers of a CSV file (msisdn,amount,currency,reference), a thousand in a request: many_at_once.py numbers.csv"""

import asyncio
import csv
import os
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from refill_client import AsyncClient, Wish


def wishes(file: Path) -> Iterator[Wish | None]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines):
            try:
                amount = Decimal(row["amount"])
            except InvalidOperation:
                yield None
            else:
                yield Wish(msisdn=row["msisdn"], amount=amount, currency=row["currency"], reference=row["reference"])


async def main(file: str) -> None:
    every = list(wishes(Path(file)))
    good = [wish for wish in every if wish is not None]
    accepted, refused = 0, len(every) - len(good)
    async with AsyncClient(
        os.environ.get("REFILL_API_URL", "http://127.0.0.1:8000"), os.environ["REFILL_API_KEY"]
    ) as refill:
        for start in range(0, len(good), 1_000):
            told = await refill.bulk(good[start : start + 1_000])
            accepted, refused = accepted + told.accepted, refused + told.refused
            for wish, row in zip(good[start : start + 1_000], told.results, strict=True):
                if row.problem is not None:
                    print(f"{wish.reference}: {row.problem.detail}")
    print(f"{accepted} accepted, {refused} refused")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
