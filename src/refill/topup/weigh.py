"""What a card is worth, told to whoever knows its PIN before they say what it is for; a wrong PIN is a guess here too."""

from collections.abc import Sequence

from refill import vouchers
from refill.db import Tx
from refill.errors import RefillError
from refill.topup.trade import Trade
from refill.vouchers import Pin, Voucher


async def weigh(trade: Trade, pin: Pin, by: Sequence[str] = ()) -> Voucher:
    """The voucher behind a PIN, left as it is: its value, its kind, and the order that it was used for, if it was used.

    by: all that names who types (session, address, account), for the lock-out; nothing: a caller whom we trust. That a
    voucher was used is no error here: `redeem` tells whether it was for this number. Raises WrongPin, VoucherNotValid,
    TooManyTries, Busy.
    """

    async def work(tx: Tx) -> Voucher | RefillError:
        now = trade.world.db_now()
        tries = await vouchers.enter(tx, trade.vault, by, now)
        if until := tries.locked_until(by, now):
            return vouchers.TooManyTries(until)
        voucher = (await vouchers.hold(tx, trade.vault, [pin])).get(pin)
        no = vouchers.refusal(voucher, now)
        if voucher is not None and (no is None or voucher.spent_on):
            return voucher
        if voucher is None:
            tries.wrong(by, now)
            await tries.save(tx, now)
        assert no is not None
        return no

    # A wrong PIN is an answer and no error as long as the transaction is open: it is to be counted.
    answer = await trade.db.transaction(work)
    if isinstance(answer, RefillError):
        raise answer
    return answer
