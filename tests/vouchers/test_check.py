"""What the book owes to holders is what their vouchers are worth, to the cent, and any difference has a name."""

from datetime import timedelta

from tests.vouchers.conftest import Printer

from refill import vouchers


async def findings(printer: Printer) -> list[str]:
    return await printer.db.transaction(vouchers.check)


async def test_all_that_happens_to_a_batch_keeps_it_in_balance(printer: Printer) -> None:
    assert await findings(printer) == []
    batch = await printer.print(10, days=1)
    assert await findings(printer) == []
    await printer.sell(batch, 1, 6, paid="290.00 CNY")
    assert await findings(printer) == []
    await printer.withdraw(batch, 5, 7, purse="cash:office")
    assert await findings(printer) == []
    printer.world.clock += timedelta(days=1)
    await printer.db.transaction(lambda tx: vouchers.expire(tx, printer.world))
    assert await findings(printer) == []


async def test_a_voucher_that_was_used_without_a_booking_is_found(printer: Printer) -> None:
    batch = await printer.print(2)
    await printer.sell(batch)
    await printer.spend(printer.pin(batch, 1))
    assert await findings(printer) == [
        "I13: active vouchers are worth 50.00 CNY, but the book owes their holders 100.00 CNY."
    ]


async def test_a_voucher_that_somebody_made_active_is_found(printer: Printer) -> None:
    await printer.print(1)
    await printer.sql("UPDATE vouchers_voucher SET state = 'active'")
    assert await findings(printer) == [
        "I13: active vouchers are worth 50.00 CNY, but the book owes their holders 0.00 CNY."
    ]
