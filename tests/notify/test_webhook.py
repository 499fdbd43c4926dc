"""Signatures as the standard has them: its own library, unmodified, believes ours, and nothing that was changed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook as Library
from standardwebhooks.webhooks import WebhookVerificationError
from tests.notify.conftest import PLACE, Town

from refill import notify
from refill.errors import BadInput
from refill.notify.sender import Letter
from refill.notify.webhook import LASTS, WAITS_S, headers, read_secret, secret_text, signature, wait_after

# The specification's own example, section "Signature scheme"; the secret and the result are those of its libraries' tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')


def test_the_signature_of_the_standards_own_example() -> None:
    made = signature(read_secret(SECRET), *EXAMPLE)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_standards_library_believes_us_and_nobody_who_changed_a_byte() -> None:
    secret = bytes(range(32))
    letter = Letter("tu_01k000000000000000000000e1", PLACE, '{"data":{"reason":"号码"}}'.encode(), (secret,))
    sent = headers(letter, datetime.now(UTC))
    library = Library(secret_text(secret))
    assert library.verify(letter.body, sent) == {"data": {"reason": "号码"}}
    wrong = [
        (letter.body + b" ", sent),
        (letter.body, {**sent, "webhook-id": "tu_01k000000000000000000000e2"}),
        (letter.body, {**sent, "webhook-timestamp": str(int(sent["webhook-timestamp"]) - 1)}),
        (letter.body, headers(letter, datetime.now(UTC) - timedelta(minutes=6))),
    ]
    for body, changed in wrong:
        with pytest.raises(WebhookVerificationError):
            library.verify(body, changed)
    with pytest.raises(WebhookVerificationError):
        Library(secret_text(bytes(32))).verify(letter.body, sent)


async def test_while_secrets_change_both_of_them_verify_and_then_only_the_new_one(town: Town) -> None:
    endpoint, first = await town.listen()
    _, second = await town.db.transaction(
        lambda tx: notify.rotate(tx, town.world, town.shop.vault, town.shop.partner, endpoint.id)
    )

    async def signed_by() -> list[bool]:
        """Which of the two secrets the latest request verifies with, at the time of our clock."""
        await town.shop.placed(town.shop.partners_ask(face="10.00 CNY"))
        await town.tell_all()
        request = town.receiver.requests[-1]
        sent, body = dict(request.headers), request.body
        given = sent["webhook-signature"].split()
        made = [
            signature(read_secret(secret), sent["webhook-id"], int(sent["webhook-timestamp"]), body)
            for secret in (first, second)
        ]
        return [one in given for one in made]

    assert await signed_by() == [True, True]
    await town.world.advance(86_401)
    assert await signed_by() == [False, True]
    assert json.loads(town.receiver.requests[-1].body)["type"] == "topup.succeeded"


def test_the_timetable_lasts_three_days_to_the_second() -> None:
    assert timedelta(days=3) == LASTS
    assert wait_after(1, 0.0) == timedelta(seconds=5)
    assert wait_after(len(WAITS_S), 1.0) == timedelta(seconds=WAITS_S[-1] * 1.1)
    assert wait_after(len(WAITS_S) + 1, 0.0) is None


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_???", "whsec_YWJj", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_secret(text)
