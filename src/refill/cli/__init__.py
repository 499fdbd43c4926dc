"""The command line: `refill up` runs everything; the other commands each do one thing to the same data."""

import sys

from cyclopts import App

from refill import __version__
from refill.errors import RefillError

cli = App(name="refill", version=__version__, help="Sell phone credit through every door and never lose a cent.")

# By name: a command's file is imported when the command is given, so that each starts without the others.
COMMANDS = {
    "running": {
        "up": "Starts everything: database, demonstration, simulators, worker, pages and API.",
        "serve": "Serves the doors alone; run `refill work` beside it.",
        "work": "Works due orders off: sends, asks, settles, refunds.",
        "simulator": "Plays the other end of one wire alone.",
        "settings": "Prints the settings that are in force, without secrets.",
    },
    "selling": {
        "topup": "Tops a number up from a partner's float.",
        "balance": "Balance and validity of a number on our own network.",
        "partner": "Platforms that sell through us.",
        "routes": "Says who would deliver a top-up now, and why.",
    },
    "api": {"api": "A partner's API over HTTP, as every partner uses it."},
    "books": {
        "check": "Replays the whole book and verifies what must always hold.",
        "reconcile": "Our book against the payment firms' statements.",
    },
    "cards": {"cards": "SIM cards of our own network."},
    "vouchers": {"vouchers": "Scratch cards: made, sold, withdrawn."},
    "guards": {
        "numbers": "Numbers: whose they are, and which are refused or always served.",
        "limits": "How many top-ups, and how much, in an hour, day, week or month.",
        "rates": "Exchange rates of suppliers that bill in another currency.",
    },
    "catalogue": {"catalogue": "Price lists, ours and suppliers'; margins; tiers."},
    "stock": {"stock": "Operators' PINs in our own stock: imported, confirmed, counted, watched."},
    "proof": {
        "simulate": "Seeded days of the shipped engine, with planted faults and bugs.",
        "bench": "Measures a ratio against a reference in the same run.",
    },
}
for file, commands in COMMANDS.items():
    for name, says in commands.items():
        cli.command(f"refill.cli.{file}:{name}", name=name, help=says)


def main() -> None:
    """Runs a command; an error that we foresee is one sentence and exit code 1."""
    try:
        sys.exit(cli() or 0)
    except RefillError as error:
        print(f"refill: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
