"""On seeded days partners hear all that happened to their orders, each order's events in order, and nothing else."""

import json
from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from refill import notify
from refill.channels.partner_api.webhooks import render
from refill.db import Statement, Tx
from refill.errors import Busy
from refill.notify import Courier, Receipt, courier
from refill.notify.webhook import read_secret, signature
from refill.simulate.crew import Runner
from refill.simulate.day import HEALED_AT_S, Day
from refill.simulate.kernel import Process
from refill.simulate.truth import judge
from refill.simulate.world import Books, VirtualDatabase, VirtualWorld
from refill.topup import tell
from refill.world import NoAnswer, Request, Response

SHOP = "https://shop.example"
SEEDS = range(300, 306)
# What a partner sees of each step of an order's timeline; of all other steps it sees nothing.
SEEN = {
    "sold": "succeeded",
    "delivered": "succeeded",
    "partial": "partial",
    "failed": "failed",
    "overdue": "failed",
    "proven_failed": "failed",
    "unsure": "processing",
    "reversed": "reversed",
    "goodwill": "refunded",
}
PARTNER = Statement("""
    INSERT INTO accounts_partner (id, name, currency, commission_bp, credit_limit_minor, status, created_at)
    SELECT id, id, 'CNY', 30, 0, 'active', :at FROM unnest(:ids::text[]) AS t (id)
""")
WAITING = Statement("SELECT count(*) FROM notify_delivery WHERE state = 'waiting'")
HAPPENED = Statement("""
    SELECT o.payer, o.id, e.transition, o.delivery FROM topup_event e JOIN topup_order o ON o.id = e.order_id
     WHERE o.payer LIKE 'partner:%' ORDER BY o.id, e.at
""")
FORGET = [
    Statement(f"DELETE FROM {table}")
    for table in ("notify_try", "notify_delivery", "notify_event", "notify_endpoint", "accounts_partner")
]
for one in (PARTNER, WAITING, HAPPENED, *FORGET):
    Statement.every.remove(one)


class ListeningDay(Day):
    """A day whose first partner listens with two endpoints, and whose second does not; a courier beside each worker."""

    def __init__(self, seed: int, books: Books) -> None:
        self.troubled = Random(f"receiver {seed}")
        self.heard: dict[str, list[tuple[str, int, dict[str, Any]]]] = defaultdict(list)  # by path, as it came
        self.wrong: list[str] = []
        super().__init__(seed, books)
        self.wire.places[SHOP] = (self.far, self._receive)
        world = VirtualWorld(self.far, self.wire)
        self.secrets: dict[str, bytes] = {}

        async def listen(tx: Tx) -> None:
            for statement in FORGET:
                await tx.run(statement)
            await tx.run(PARTNER, ids=self.partners, at=self.kernel.time())
            for path, events in (("/all", ()), ("/ends", ("topup.succeeded", "topup.failed"))):
                wanted = {"events": events}
                _, secret = await notify.create(tx, world, self.vault, self.partners[0], SHOP + path, **wanted)
                self.secrets[path] = read_secret(secret)

        books.run(listen)

    def _boot_worker(self, process: Process) -> None:
        super()._boot_worker(process)
        process.start(self._tell(process))

    async def _tell(self, process: Process) -> None:
        """The courier's loop of `app`; it rests longer, for virtual days are long."""
        world = VirtualWorld(process, self.wire)
        post = Courier(world, VirtualDatabase(world, self.books), self.vault, render(self.trade(process)))
        rest = 0.05
        while True:
            try:
                rest = 0.05 if await post.tick() else min(2 * rest, 60.0)
            except Busy:
                rest = 1.0
            await world.sleep(rest)

    async def _receive(self, request: Request) -> Response:
        """Fails in every way while faults last; whatever it heard, it heard, also when its answer is lost."""
        path = request.url.removeprefix(SHOP)
        sent = request.headers
        made = signature(self.secrets[path], sent["webhook-id"], int(sent["webhook-timestamp"]), request.body)
        if sent["webhook-signature"] != made:
            self.wrong.append(f"{sent['webhook-id']} is not signed")
        trouble = self.troubled.random() if self.kernel.now < HEALED_AT_S else 1.0
        if trouble < 0.1:
            return Response(500, {}, b"not now")
        event = json.loads(request.body)
        self.heard[path].append((event["data"]["id"], event["sequence"], event))
        if event["data"]["id"] + f"e{event['sequence']}" != sent["webhook-id"]:
            self.wrong.append(f"{sent['webhook-id']} names another event")
        if trouble < 0.2:
            raise NoAnswer("silent")
        return Response(503 if trouble < 0.25 else 204, {}, b"")

    def unsettled(self) -> int:
        waiting: int = self.books.run(lambda tx: tx.value(WAITING))
        return super().unsettled() + waiting

    def findings(self) -> list[str]:
        """What a partner did not hear, heard too early, or heard although it did not happen."""
        found = list(self.wrong)
        happened: dict[str, list[str]] = defaultdict(list)
        for payer, id_, transition, delivery in self.books.run(lambda tx: tx.rows(HAPPENED)):
            seen = SEEN.get(transition) or (
                transition == "late_success" and {"delivered": "succeeded"}.get(delivery, delivery)
            )
            if seen and payer == f"partner:{self.partners[0]}":
                happened[id_].append(f"topup.{seen}")
        for path in self.secrets:
            found += self._compare(path, happened)
        return found

    def _compare(self, path: str, happened: dict[str, list[str]]) -> Iterator[str]:
        heard: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for id_, n, event in self.heard[path]:
            if n in heard[id_]:
                same = (heard[id_][n]["type"], heard[id_][n]["data"]) == (event["type"], event["data"])
                if not same:
                    yield f"{path}: {id_}e{n} says something else the second time"
            elif heard[id_] and n < max(heard[id_]):
                yield f"{path}: {id_}e{n} came after {max(heard[id_])}"
            heard[id_].setdefault(n, event)
        for id_ in sorted({*happened, *heard}):
            told = [event["type"] for _, event in sorted(heard[id_].items())]
            wanted = [kind for kind in happened[id_] if path == "/all" or kind in ("topup.succeeded", "topup.failed")]
            if told != wanted:
                yield f"{path}: {id_} was {happened[id_]}, and {told} was told"


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_told_in_order_and_nothing_else(dsn: str, days: Runner, seed: int) -> None:
    assert dsn
    days.empty()
    day = ListeningDay(seed, days.books)
    try:
        day.run()
        assert (day.findings(), judge(day)) == ([], [])
        assert day.heard["/all"] or seed not in SEEDS[:3]
    finally:
        day.kernel.bury()


def without_order(planted: pytest.MonkeyPatch) -> None:
    """Events of one order are sent whenever they are due."""
    text = courier.TAKE.text
    begins, ends = text.index("AND NOT EXISTS"), text.index("ORDER BY w.due")
    changed = Statement(text[:begins] + text[ends:])
    Statement.every.remove(changed)
    changed.names = courier.TAKE.names
    planted.setattr(courier, "TAKE", changed)


def silence_is_a_yes(planted: pytest.MonkeyPatch) -> None:
    """Who does not answer has surely heard it."""
    truly = courier._fate

    def fate(parcel: Any, receipt: Receipt, *more: Any) -> Any:
        return ("accepted", None) if receipt.status is None else truly(parcel, receipt, *more)

    planted.setattr(courier, "_fate", fate)


def told_in_a_second_transaction(planted: pytest.MonkeyPatch) -> None:
    """What happened is committed first, and told in a transaction of its own afterwards."""
    truly = VirtualDatabase.transaction

    async def transaction(db: VirtualDatabase, work: Any) -> Any:
        later: list[Any] = []

        def put_off(tx: Tx, told: Any, now: Any) -> None:
            later.append((list(told), now))

        async def first(tx: Tx) -> Any:
            later.clear()
            tell.tell = put_off  # type: ignore[attr-defined]
            try:
                return await work(tx)
            finally:
                tell.tell = notify.tell  # type: ignore[attr-defined]

        done = await truly(db, first)
        for told, now in [one for one in later if one[0]]:

            async def second(tx: Tx, told: Any = told, now: Any = now) -> None:
                notify.tell(tx, told, now)

            await truly(db, second)
        return done

    planted.setattr(VirtualDatabase, "transaction", transaction)


@pytest.mark.parametrize("bug", [without_order, silence_is_a_yes, told_in_a_second_transaction])
def test_a_planted_bug_is_found(dsn: str, days: Runner, monkeypatch: pytest.MonkeyPatch, bug: Any) -> None:
    assert dsn
    bug(monkeypatch)
    for seed in range(300, 340):
        days.empty()
        day = ListeningDay(seed, days.books)
        try:
            day.run()
            if day.findings():
                return
        finally:
            day.kernel.bury()
    pytest.fail("forty days, and nobody noticed")


def test_the_judge_finds_what_is_lost_invented_or_out_of_order(dsn: str, days: Runner) -> None:
    assert dsn
    days.empty()
    day = ListeningDay(SEEDS[0], days.books)
    try:
        day.run()
        heard = day.heard["/all"]
        assert heard and day.findings() == []
        lost = heard[0][0]
        day.heard["/all"] = [one for one in heard if one[0] != lost]
        assert any(lost in finding for finding in day.findings())
        day.heard["/all"] = [*heard, ("tu_invented", 1, heard[0][2])]
        assert any("tu_invented" in finding for finding in day.findings())
        day.heard["/all"] = [*heard[:1], (lost, heard[0][1] + 5, heard[0][2]), *heard[1:]]
        assert any(lost in finding for finding in day.findings())
    finally:
        day.kernel.bury()
