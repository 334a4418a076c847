"""The demo's WhatsApp messages: the same whoever makes them, shaped as Meta's webhooks, and what Meta says of them."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from secretaria.core.event import Direction
from secretaria.core.period import ZoneSchedule, day_end, day_start, local_day
from secretaria.core.whatsapp import Status, Turn, response_times
from secretaria.inbound.whatsapp import is_signed, read, signature_of
from secretaria.inbound.whatsapp_scrub import scrub
from secretaria.services.demo_history import COMPANIES
from secretaria.services.demo_messages import (
    ACCOUNTS,
    CONNECTED,
    TEMPLATES,
    WHATSAPP_DAYS,
    accounts_of,
    messages_of,
    meta_world,
    report_of,
    webhook_body,
    whatsapp_since,
)

MONDAY = date(2026, 11, 16)
LATER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_a_day_of_an_account_is_the_same_whenever_it_is_made(account):
    messages = list(messages_of(account, MONDAY, LATER))
    assert messages == list(messages_of(account, MONDAY, LATER))
    assert len({message.wamid for message in messages}) == len(messages) > 20
    schedule = ZoneSchedule.single(account.company.timezone)
    assert local_day(schedule, min(message.at for message in messages)) == MONDAY
    noon = day_start(schedule, MONDAY) + timedelta(hours=12)
    so_far = list(messages_of(account, MONDAY, noon))
    assert 0 < len(so_far) < len(messages)
    assert all(message.at < noon and message in messages for message in so_far)


def test_every_company_has_one_or_two_accounts_and_every_category_and_outcome_occurs():
    assert {len(accounts_of(company)) for company in COMPANIES} == {1, 2}
    assert len({account.phone_number_id for account in ACCOUNTS}) == len(ACCOUNTS)
    messages = [message for account in ACCOUNTS for message in messages_of(account, MONDAY, LATER)]
    assert {message.category for message in messages} == {*TEMPLATES, ""}
    outcomes = Counter(message.outcome for message in messages)
    assert set(outcomes) == {Status.READ, Status.DELIVERED, Status.FAILED, Status.RECEIVED}
    assert outcomes[Status.FAILED] < len(messages) / 20


def test_every_question_is_answered_within_seconds():
    turns = [
        Turn(f"{message.account.phone_number_id} {message.contact} {message.wamid}", message.direction, message.at)
        for message in messages_of(ACCOUNTS[0], MONDAY, LATER)
        if message.outcome is not Status.FAILED
    ]
    contacts = {turn.wamid.rpartition(" ")[0] for turn in turns}
    times = [
        response_ms
        for contact in contacts
        for response_ms in response_times(turn for turn in turns if turn.wamid.startswith(f"{contact} ")).values()
    ]
    assert len(times) > 10
    assert max(times) < 10_000


def test_a_webhook_of_all_accounts_is_signed_and_read_whole():
    messages = [message for account in ACCOUNTS for message in messages_of(account, MONDAY, LATER)]
    body = webhook_body(report_of(message, message.outcome, message.at) for message in messages)
    assert is_signed(body, signature_of(body, "a secret"), "a secret")
    assert not is_signed(body, signature_of(body, "another"), "a secret")
    scrubbed = scrub(json.loads(body), b"key")
    assert not scrubbed.unknown
    report = read(scrubbed.body, LATER)
    assert not report.unknown
    assert {update.wamid for update in report.updates} == {message.wamid for message in messages}
    said = {update.wamid: update for update in report.updates}
    for message in messages:
        update = said[message.wamid]
        assert update.phone_number_id == message.account.phone_number_id
        assert update.contact is not None
        assert update.country is not None
        priced = message.direction is Direction.OUTBOUND and message.outcome is not Status.FAILED
        assert (update.pricing is not None) is priced


def test_the_made_up_graph_counts_what_was_delivered():
    schedule = ZoneSchedule.single(CONNECTED.timezone)
    start, end = day_start(schedule, MONDAY), day_end(schedule, MONDAY)
    world = meta_world()
    assert world.points is not None
    points = list(world.points(int(start.timestamp()), int(end.timestamp())))
    volumes = Counter(dict.fromkeys(TEMPLATES, 0))
    for point in points:
        volumes[point["pricing_category"]] += point["volume"]
    delivered = Counter(
        message.category
        for account in accounts_of(CONNECTED)
        for message in messages_of(account, MONDAY, end)
        if message.outcome in (Status.READ, Status.DELIVERED)
    )
    assert volumes == delivered
    assert len(world.numbers) == 2


def test_the_made_up_graph_tells_of_no_day_that_the_demo_did_not_send():
    schedule = ZoneSchedule.single(CONNECTED.timezone)
    end = day_end(schedule, MONDAY)
    since = whatsapp_since(CONNECTED, end - timedelta(hours=1))
    assert since == MONDAY - timedelta(days=WHATSAPP_DAYS)
    points = meta_world(since).points
    assert points is not None
    begins = [point["start"] for point in points(int((end - timedelta(days=30)).timestamp()), int(end.timestamp()))]
    first = day_start(schedule, since).timestamp()
    assert first <= min(begins) < first + 86_400
