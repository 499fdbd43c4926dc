"""A partner's API from the command line, over HTTP as every partner uses it: `refill api topup +8619912345678 50.00`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from refill.errors import BadInput, RefillError

if TYPE_CHECKING:
    from refill_client import Client

api = App(name="api", help="A partner's API over HTTP; REFILL_API_KEY names the key, REFILL_API_URL the server.")
Url = Annotated[str | None, Parameter(help="of the server; else REFILL_API_URL, else this machine")]


class Answered(RefillError):
    """The server said no, or did not say."""

    code = "api"


def _asking(url: str | None, ask: "Callable[[Client], Any]") -> int:
    from refill_client import Client, RefillClientError

    key = os.environ.get("REFILL_API_KEY")
    if not key:
        raise BadInput("Set REFILL_API_KEY to a partner's key; `refill partner create NAME` makes one.")
    with Client(url or os.environ.get("REFILL_API_URL") or "http://127.0.0.1:8000", key) as client:
        try:
            ask(client)
        except (RefillClientError, ValueError) as no:
            raise Answered(str(no)) from None
    return 0


@api.command
def topup(
    msisdn: str,
    amount: str,
    /,
    *,
    currency: str = "CNY",
    reference: str | None = None,
    wait_s: float = 30,
    url: Url = None,
) -> int:
    """Tops one number up and waits until it is decided."""

    def ask(client: "Client") -> None:
        told = client.wait(client.topup(msisdn, amount, currency, reference=reference), timeout_s=wait_s)
        print(
            f"{told.id}  {told.status} ({told.certainty})  {told.face_value} for {told.price} {told.currency}  {told.reason}"
        )

    return _asking(url, ask)


@api.command
def get(id: str, /, *, url: Url = None) -> int:
    """How a top-up stands, by our id or your reference."""

    def ask(client: "Client") -> None:
        told = client.get(id) if id.startswith("tu_") else client.by_reference(id)
        print(
            f"{told.id}  {told.status} ({told.certainty})  {told.operator}  {told.face_value} for {told.price} {told.currency}"
        )

    return _asking(url, ask)


@api.command
def balance(*, url: Url = None) -> int:
    """What is left of the float."""

    def ask(client: "Client") -> None:
        told = client.balance()
        print(f"{told.balance} {told.currency}")

    return _asking(url, ask)


@api.command
def operators(*, url: Url = None) -> int:
    """What is on sale, at this partner's prices."""

    def ask(client: "Client") -> None:
        for operator in client.operators():
            print(f"{operator.id}  {operator.name}  {operator.country}")
            for offer in operator.products:
                span = f"-{offer.max_face_value}" if offer.max_face_value else ""
                print(f"    {offer.product}  {offer.face_value}{span} {offer.currency}  {offer.price or ''}")

    return _asking(url, ask)


@api.command
def upload(file: Path, /, *, result: Path | None = None, url: Url = None) -> int:
    """Sends a CSV file of top-ups, shows how far it is, and writes the result file."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if not file.is_file():
        raise BadInput(f"There is no file {file}.")

    def ask(client: "Client") -> None:
        told = sent = client.upload(file)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns) as bar:
            task = bar.add_task("top-ups", total=sent.rows)
            for told in client.wait_for_file(sent):
                bar.update(task, completed=told.accepted + told.refused)
        print(f"{told.id}  {told.accepted} accepted, {told.refused} refused")
        if result is not None:
            result.write_bytes(client.result(told.id))

    return _asking(url, ask)
