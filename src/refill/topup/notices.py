"""What strangers tell us unasked: kept first, verified, and believed only as far as it proves itself."""

from collections.abc import Mapping

from refill import cases, inbox, numbers
from refill.cases import Case
from refill.db import Tx
from refill.errors import NotFound, NotVerified
from refill.outcome import Done, Unknown
from refill.payments import Capture, Dispute, RawNotice
from refill.topup import store
from refill.topup.dispute import dispute
from refill.topup.order import order_of
from refill.topup.pay import pay
from refill.topup.reversal import look_for_reversal
from refill.topup.send import Answered, never_heard, recharge_of
from refill.topup.settle import settle
from refill.topup.trade import Trade


async def receive_notice(trade: Trade, method: str, raw: RawNotice) -> tuple[int, bytes]:
    """A payment firm's callback: kept first, verified, believed only for its exact order; the answer to send back."""
    if method not in trade.methods:
        raise NotFound("There is no such payment method.")
    shelf = trade.methods[method]
    source = f"payments:{method}"
    try:
        notice = shelf.read_notice(raw)
    except NotVerified as doubt:
        await _keep_unverified(trade, source, raw.body, str(doubt))
        return shelf.acknowledge(False)
    about = notice.dispute.transaction if notice.dispute else notice.reference
    kept = await _keep(trade, source, notice.id, raw.body, about)
    if kept.handled:
        return shelf.acknowledge(True)
    if notice.dispute is not None:
        return shelf.acknowledge(await _disputed(trade, method, kept, notice.dispute))
    if notice.capture is not None and notice.fresh:
        captures = [notice.capture]
    else:
        # Stale, or about something else than money arriving: the gateway itself is asked, never the notice believed.
        answer = await shelf.query(trade.world, notice.reference)
        if isinstance(answer, Unknown):
            return shelf.acknowledge(False)
        captures = [answer.reference] if isinstance(answer, Done) else []
    (known,) = await store.find(trade, [order_of(notice.reference)])
    if known is None:
        await _stranger(trade, kept, notice.capture)
        return shelf.acknowledge(False)  # perhaps it overtook our own commit: let them send it again
    await pay(trade, captures)
    await _handled(trade, kept, "paid" if captures else "noted")
    return shelf.acknowledge(True)


async def _disputed(trade: Trade, method: str, kept: inbox.Kept, said: Dispute) -> bool:
    """Nobody can be asked about a dispute, and its word only ever leads forward; so an old notice counts like a new one."""
    if not await dispute(trade, method, said):
        says = "A payer's bank disputes a payment that we do not know."
        await _call_a_person(trade, Case("stranger", f"{kept.source} {kept.their_id}", says, said.amount))
        return False  # perhaps it overtook the payment itself: let them send it again
    await _handled(trade, kept, f"dispute {said.state}")
    return True


async def receive_supplier_notice(
    trade: Trade, supplier: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """A supplier's callback: kept, verified, and then only a reason to ask them at once."""
    if supplier not in trade.suppliers:
        raise NotFound("There is no such supplier.")
    source = f"operators:{supplier}"
    try:
        notice = trade.suppliers[supplier].read_notice(body, headers)
    except NotVerified as doubt:
        await _keep_unverified(trade, source, body, str(doubt))
        return 400, b"not verified"
    kept = await _keep(trade, source, notice.id, body, notice.request_id)
    if kept.handled:
        return 200, b"success"
    try:
        dossier = await store.dossier(trade, order_of(notice.request_id))
    except NotFound:
        await _stranger(trade, kept, None)
        return 404, b"unknown order"
    attempt = next((a for a in dossier.attempts if a.request_id == notice.request_id), None)
    if attempt is not None and attempt.state == "done":
        reversed_ = await look_for_reversal(trade, dossier, attempt)
        await _handled(trade, kept, "taken back" if reversed_ else "asked")
        return 200, b"success"
    if attempt is not None:
        msisdn = await trade.db.transaction(lambda tx: numbers.reveal(tx, trade.vault, [dossier.order.number]))
        if dossier.order.number in msisdn:
            digits = msisdn[dossier.order.number].digits
            ask = recharge_of(dossier.order, attempt, digits, attempt.send_before)
            # An answer by notice never sends again: only ask.
            outcome = await trade.suppliers[supplier].inquire(trade.world, ask)
            if not never_heard(outcome):
                await settle(trade, [Answered(attempt, outcome, by_inquiry=True)])
    await _handled(trade, kept, "asked")
    return 200, b"success"


async def _keep(trade: Trade, source: str, their_id: str, raw: bytes, about: str | None) -> inbox.Kept:
    now = trade.world.db_now()
    return await trade.db.transaction(
        lambda tx: inbox.keep(tx, trade.vault, source, their_id, raw, verified=True, about=about, at=now)
    )


async def _keep_unverified(trade: Trade, source: str, raw: bytes, doubt: str) -> None:
    their_id = "raw:" + trade.vault.digest("notice", raw)

    async def work(tx: Tx) -> None:
        now = trade.world.db_now()
        kept = await inbox.keep(tx, trade.vault, source, their_id, raw, verified=False, about=None, at=now)
        await inbox.handled(tx, kept, doubt, now)

    await trade.db.transaction(work)


async def _stranger(trade: Trade, kept: inbox.Kept, capture: Capture | None) -> None:
    money = capture.amount if capture else None
    says = "A verified notice names an order that we do not have."
    await _call_a_person(trade, Case("stranger", f"{kept.source} {kept.their_id}", says, money))


async def _call_a_person(trade: Trade, case: Case) -> None:
    await trade.db.transaction(lambda tx: cases.raise_cases(tx, [case], trade.world.db_now()))


async def _handled(trade: Trade, kept: inbox.Kept, remark: str) -> None:
    await trade.db.transaction(lambda tx: inbox.handled(tx, kept, remark, trade.world.db_now()))
