"""Endpoints as people keep them, and the operator's own as the settings say."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.receiver import Receiver, answer, receiving
from tests.services.dispatching import START, Post, until
from tests.shop import OPERATOR, make_company

from secretaria.bootstrap import Application
from secretaria.core import standard_webhook
from secretaria.core.access import Caller, Scope
from secretaria.core.delivery import Channel
from secretaria.core.errors import ConfigurationError, InvalidInput, NotAllowed, NotFound
from secretaria.embedded.servers import Endpoints
from secretaria.services.deliveries import DeliveryService
from secretaria.services.endpoints import ENDPOINTS_A_CHANNEL_MAX, EndpointService
from secretaria.services.operator_endpoint import OperatorEndpoint
from secretaria.services.signing import Signing
from secretaria.store import delivery_endpoints
from secretaria.store.database import transaction
from secretaria.store.delivery_endpoints import Endpoint

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
URL = "https://hooks.example.com/x"


def member(company_id: int, *scopes: Scope) -> Caller:
    return Caller(company_id, "user:1", frozenset(scopes or {Scope.ANALYTICS_READ, Scope.ENDPOINTS_WRITE}))


async def public(name: str) -> Sequence[str]:
    return ["127.0.0.1"] if "inside" in name else ["93.184.215.14"]


@pytest.fixture
def post(application: Application, endpoints: Endpoints) -> Post:
    assert endpoints.admin_url is not None
    make_company(endpoints.admin_url)
    make_company(endpoints.admin_url)
    return Post(application, endpoints.admin_url)


@pytest.fixture
def service(post: Post) -> EndpointService:
    application = post.application
    return EndpointService(
        application.database, Signing(application.settings), own_hosts=["panel.example.com"], resolve=public
    )


async def stored(post: Post, endpoint_id: int, company_id: int = 1) -> Endpoint:
    async with transaction(post.application.database.operator) as connection:
        found = await delivery_endpoints.read(connection, company_id, endpoint_id)
    assert found is not None
    return found


async def test_a_member_makes_an_endpoint_and_sees_its_secret_once(post: Post, service: EndpointService) -> None:
    made = await service.create(member(1), 1, "webhook", URL + "?key=s3cret", now=START)
    assert made.secret is not None
    standard_webhook.check_secret(made.secret)
    endpoint = await stored(post, made.endpoint.endpoint_id)
    assert Signing(post.application.settings).in_use(endpoint, START) == [made.secret]
    assert [of.endpoint_id for of in await service.list(member(1), 1)] == [made.endpoint.endpoint_id]
    written = json.dumps(post.rows("SELECT detail FROM audit_log"))
    assert "s3cret" not in written
    assert made.secret not in written
    assert "endpoint.created" in {action for (action,) in post.rows("SELECT action FROM audit_log")}
    everything = repr(post.rows("SELECT e::text FROM delivery_endpoints e"))
    assert made.secret not in everything


@pytest.mark.parametrize(
    ("channel", "address", "more", "code"),
    [
        ("webhook", "http://hooks.example.com/x", {}, "url_not_allowed"),
        ("webhook", "https://127.0.0.1/x", {}, "url_not_allowed"),
        ("webhook", "https://inside.example.com/x", {}, "url_not_allowed"),
        ("webhook", "https://panel.example.com/x", {}, "url_not_allowed"),
        ("webhook", URL, {"events": ["report.weekly"]}, "unknown_event"),
        ("webhook", URL, {"events": []}, "unknown_event"),
        ("webhook", URL, {"description": "x" * 201}, "too_long"),
        ("webhook", URL, {"locale": "fr"}, "unknown_locale"),
        ("pigeon", URL, {}, "unknown_channel"),
        ("mail", "nobody", {}, "invalid_email"),
    ],
)
async def test_it_refuses_what_cannot_be_an_endpoint(
    post: Post, service: EndpointService, channel: str, address: str, more: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await service.create(member(1), 1, channel, address, now=START, **more)
    assert refused.value.code == code
    assert post.rows("SELECT * FROM delivery_endpoints") == []


async def test_ten_of_a_channel_are_enough(service: EndpointService) -> None:
    for number in range(ENDPOINTS_A_CHANNEL_MAX):
        last = await service.create(member(1), 1, "mail", f"m{number}@example.com", now=START)
    with pytest.raises(InvalidInput, match="at most 10"):
        await service.create(member(1), 1, "mail", "more@example.com", now=START)
    await service.create(member(1), 1, "webhook", URL, now=START)
    await service.create(member(2), 2, "mail", "more@example.com", now=START)
    await service.remove(member(1), last.endpoint.endpoint_id, START)
    await service.create(member(1), 1, "mail", "more@example.com", now=START)


async def test_nobody_reaches_anothers_endpoints_and_members_not_the_operators(
    post: Post, service: EndpointService
) -> None:
    theirs = (await service.create(OPERATOR, 2, "mail", "a@example.com", now=START)).endpoint.endpoint_id
    operators = (await service.create(OPERATOR, 0, "mail", "b@example.com", now=START)).endpoint.endpoint_id
    log = DeliveryService(post.application.database)
    news = [await service.test(OPERATOR, of, START) for of in (theirs, operators)]
    for endpoint_id, delivery_id in zip((theirs, operators), news, strict=True):
        for attempt in (
            service.get(member(1), endpoint_id),
            service.change(member(1), endpoint_id, {"description": "x"}, START),
            service.remove(member(1), endpoint_id, START),
            service.rotate(member(1), endpoint_id, START),
            service.enable(member(1), endpoint_id, START),
            service.test(member(1), endpoint_id, START),
            service.redeliver_since(member(1), endpoint_id, START, START),
            log.get(member(1), delivery_id),
            log.redeliver(member(1), delivery_id, START),
        ):
            with pytest.raises(NotFound):
                await attempt
    for company_id in (0, 2, 987654321):
        with pytest.raises(NotFound):
            await service.list(member(1), company_id)
        with pytest.raises(NotFound):
            await log.page(member(1), company_id)
    with pytest.raises(NotAllowed):
        await service.create(member(1, Scope.ANALYTICS_READ), 1, "mail", "a@example.com", now=START)
    with pytest.raises(NotAllowed):
        await service.list(member(1, Scope.ENDPOINTS_WRITE), 1)


async def test_a_rotated_secret_signs_on_for_a_day(post: Post, service: EndpointService) -> None:
    made = await service.create(member(1), 1, "webhook", URL, now=START)
    again = await service.rotate(member(1), made.endpoint.endpoint_id, START)
    endpoint, signing = await stored(post, made.endpoint.endpoint_id), Signing(post.application.settings)
    assert signing.in_use(endpoint, START + DAY - timedelta(seconds=1)) == [again.secret, made.secret]
    assert signing.in_use(endpoint, START + DAY) == [again.secret]
    for _ in range(9):
        again = await service.rotate(member(1), made.endpoint.endpoint_id, START)
    endpoint = await stored(post, made.endpoint.endpoint_id)
    assert len(signing.in_use(endpoint, START)) == standard_webhook.SECRETS_MAX
    assert signing.in_use(endpoint, START)[0] == again.secret


async def test_a_secret_sealed_with_a_retired_key_is_sealed_anew(post: Post, service: EndpointService) -> None:
    made = await service.create(member(1), 1, "webhook", URL, now=START)
    old_key = (post.application.settings.secretaria_data_dir / "secret.key").read_text().strip()
    both = post.application.settings.model_copy(
        update={"secretaria_secret_key": "another key of enough length", "secretaria_retired_secret_keys": old_key}
    )
    assert await EndpointService(post.application.database, Signing(both)).reseal() == 1
    assert await EndpointService(post.application.database, Signing(both)).reseal() == 0
    new_only = both.model_copy(update={"secretaria_retired_secret_keys": ""})
    assert Signing(new_only).in_use(await stored(post, made.endpoint.endpoint_id), START) == [made.secret]


async def test_another_address_begins_anew_and_is_checked(post: Post, service: EndpointService) -> None:
    made = await service.create(member(1), 1, "webhook", URL, now=START)
    endpoint_id = made.endpoint.endpoint_id
    post.execute("UPDATE delivery_endpoints SET failing_since = %s, held_until = %s", START, START + DAY)
    with pytest.raises(InvalidInput):
        await service.change(member(1), endpoint_id, {"address": "https://inside.example.com/"}, START)
    await service.change(member(1), endpoint_id, {"description": "x"}, START)
    assert (await stored(post, endpoint_id)).failing_since == START
    changed = await service.change(member(1), endpoint_id, {"address": "https://new.example.com/?q=1"}, START)
    assert changed == replace(await stored(post, endpoint_id), address="https://new.example.com/?q=1")
    assert (changed.failing_since, changed.held_until) == (None, None)
    ((detail,),) = post.rows("SELECT detail FROM audit_log ORDER BY sequence DESC LIMIT 1")
    assert detail == {"before": {"address": URL}, "after": {"address": "https://new.example.com/?…"}}


async def test_what_waited_is_sent_when_it_is_enabled_again(post: Post, service: EndpointService) -> None:
    async with receiving() as receiver:
        receiver.answers["/x"] = answer(410)
        endpoint_id = await post.add(receiver.url("/x"))
        async with post.dispatching():
            await post.tell("alert_1")
            await until(lambda: post.endpoint(endpoint_id, "status") == ("disabled",))
            with pytest.raises(InvalidInput) as refused:
                await service.test(member(1), endpoint_id, post.now)
            assert refused.value.code == "endpoint_disabled"
            del receiver.answers["/x"]
            post.now += 3 * DAY
            await service.enable(member(1), endpoint_id, post.now)
            await until(lambda: post.delivery(endpoint_id)[0] == "delivered")
    assert len({of.id for of in receiver.received}) == 1


async def test_a_removed_endpoint_gets_nothing_more(post: Post, service: EndpointService) -> None:
    endpoint_id = await post.add(URL)
    await post.tell("alert_1")
    await service.remove(member(1), endpoint_id, START)
    assert post.delivery(endpoint_id)[0] == "cancelled"
    ((delivery_id,),) = post.rows("SELECT delivery_id FROM deliveries")
    assert post.endpoint(endpoint_id, "secrets") == (None,)
    assert await post.tell("alert_2") == 0
    log = DeliveryService(post.application.database)
    assert (await log.get(member(1), delivery_id)).delivery.status == "cancelled"
    with pytest.raises(InvalidInput) as refused:
        await log.redeliver(member(1), delivery_id, START)
    assert refused.value.code == "endpoint_removed"


async def test_a_test_is_tried_once_and_shows_its_result(post: Post, service: EndpointService) -> None:
    log = DeliveryService(post.application.database)
    async with receiving() as receiver:
        receiver.answers["/x"] = answer(500, body=b"no such table")
        endpoint_id = await post.add(receiver.url("/x"))
        async with post.dispatching():
            delivery_id = await service.test(member(1), endpoint_id, START)
            await until(lambda: post.delivery(endpoint_id)[0] == "dead")
            del receiver.answers["/x"]
            again = await service.test(member(1), endpoint_id, START)
            await until(lambda: len(post.attempts(endpoint_id)) == 2)
    shown = await log.get(member(1), delivery_id)
    (attempt,) = shown.attempts
    assert (attempt.status_code, attempt.answer) == (500, "no such table")
    assert (await log.get(member(1), again)).delivery.status == "delivered"
    assert json.loads(receiver.received[0].body)["type"] == "test.ping"
    assert post.endpoint(endpoint_id, "failing_since") == (None,)


async def test_redelivery_keeps_the_id_and_begins_a_new_chain(post: Post, service: EndpointService) -> None:
    log = DeliveryService(post.application.database)
    async with receiving() as receiver:
        endpoint_id = await post.add(receiver.url("/x"))
        async with post.dispatching():
            await post.tell("alert_1", "alert_2")
            await until(lambda: len(post.attempts(endpoint_id)) == 2)
            page = await log.page(member(1), 1, endpoint_id=endpoint_id, status="delivered")
            assert [of.message_id for of in page] == [f"alert_2_1_{endpoint_id}", f"alert_1_1_{endpoint_id}"]
            assert await log.page(member(1), 1, after=page[-1].delivery_id) == []
            receiver.answers["/x"] = answer(503)
            await log.redeliver(member(1), page[0].delivery_id, post.now)
            await until(lambda: len(post.attempts(endpoint_id)) == 3)
            found = (await log.get(member(1), page[0].delivery_id)).delivery
            assert (found.status, found.next_attempt, found.next_attempt_at - post.now) == (
                "waiting", 2, timedelta(seconds=5),
            )  # fmt: skip
            del receiver.answers["/x"]
            assert await service.redeliver_since(member(1), endpoint_id, START - DAY, post.now) == 2
            await until(lambda: len(post.attempts(endpoint_id)) == 5)
    assert len(receiver.received) == 5
    assert len({of.id for of in receiver.received}) == 2
    for since in (START - 91 * DAY, START + DAY):
        with pytest.raises(InvalidInput):
            await service.redeliver_since(member(1), endpoint_id, since, START)


async def test_a_redelivery_asked_for_in_the_last_attempt_is_not_lost(post: Post, receiver: Receiver) -> None:
    receiver.answers["/x"] = answer(500, after_s=0.5)
    endpoint_id = await post.add(receiver.url("/x"))
    await post.tell("alert_1")
    post.execute("UPDATE deliveries SET attempts = 11")
    ((delivery_id,),) = post.rows("SELECT delivery_id FROM deliveries")
    async with post.dispatching():
        await until(lambda: len(receiver.received) == 1)
        await DeliveryService(post.application.database).redeliver(member(1), delivery_id, START)
        await until(lambda: len(post.attempts(endpoint_id)) == 1)
    assert post.delivery(endpoint_id)[:2] == ("waiting", 12)


@pytest.fixture
async def receiver() -> Any:
    async with receiving() as made:
        yield made


async def test_what_is_old_and_waits_for_nothing_is_removed(post: Post) -> None:
    endpoint_id = await post.add(URL)
    await post.tell("old", "older", "waiting")
    post.execute("UPDATE deliveries SET status = 'delivered' WHERE message_id LIKE 'old%%'")
    post.execute("UPDATE deliveries SET next_attempt_at = %s WHERE status = 'waiting'", START + 2 * DAY)
    post.execute(
        "INSERT INTO delivery_attempts (company_id, delivery_id, attempt, at, duration_ms) "
        "SELECT company_id, delivery_id, 1, created_at, 1 FROM deliveries"
    )
    log = DeliveryService(post.application.database)
    assert await log.remove_expired(START + 90 * DAY) == 0
    assert await log.remove_expired(START + 91 * DAY) == 2
    assert post.rows("SELECT d.message_id FROM deliveries d JOIN delivery_attempts USING (company_id, delivery_id)") == [
        (f"waiting_1_{endpoint_id}",)
    ]


# The operator's own, out of the settings


def operator_endpoint(post: Post, **settings: Any) -> OperatorEndpoint:
    changed = post.application.settings.model_copy(update=settings)
    return OperatorEndpoint(post.application.database, changed, Signing(changed), resolve=public)


async def own(post: Post) -> Endpoint | None:
    async with transaction(post.application.database.operator) as connection:
        return await delivery_endpoints.read_of_settings(connection)


async def test_the_settings_make_change_end_and_bring_back_the_operators_endpoint(post: Post) -> None:
    secret = standard_webhook.create_secret()
    first = operator_endpoint(post, billing_alert_webhook_url=URL, billing_alert_webhook_secret=secret)
    await first.sync(START)
    await first.sync(START)
    made = await own(post)
    assert made is not None
    assert (made.address, made.status, made.company_id, made.private_allowed) == (URL, "active", 0, False)
    signing = Signing(post.application.settings)
    assert signing.in_use(made, START) == [secret]
    assert post.rows("SELECT count(*) FROM delivery_endpoints") == [(1,)]
    audited = post.rows("SELECT count(*) FROM audit_log")
    await first.sync(START)
    assert post.rows("SELECT count(*) FROM audit_log") == audited

    other = standard_webhook.create_secret()
    await operator_endpoint(
        post, billing_alert_webhook_url=f"{URL}2", billing_alert_webhook_secret=other
    ).sync(START)
    changed = await own(post)
    assert changed is not None
    assert (changed.endpoint_id, changed.address) == (made.endpoint_id, f"{URL}2")
    assert signing.in_use(changed, START) == [other, secret]

    await operator_endpoint(post).sync(START)
    assert post.endpoint(made.endpoint_id, "status", "disabled_reason") == ("disabled", "unset")
    assert await post.tell("alert_1") == 0
    await first.sync(START)
    assert post.endpoint(made.endpoint_id, "status", "address") == ("active", URL)


async def test_what_a_receivers_410_ended_a_start_does_not_bring_back(post: Post) -> None:
    service = operator_endpoint(post, billing_alert_webhook_url=URL)
    await service.sync(START)
    post.execute("UPDATE delivery_endpoints SET status = 'disabled', disabled_reason = 'gone', disabled_at = %s", START)
    await service.sync(START)
    assert post.rows("SELECT status FROM delivery_endpoints") == [("disabled",)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/x", "https://127.0.0.1/x", "https://inside.example.com/x"])
async def test_a_private_url_says_which_setting_allows_it(post: Post, url: str) -> None:
    with pytest.raises(ConfigurationError, match="BILLING_ALERT_WEBHOOK_PRIVATE=true"):
        await operator_endpoint(post, billing_alert_webhook_url=url).sync(START)
    await operator_endpoint(post, billing_alert_webhook_url=url, billing_alert_webhook_private=True).sync(START)
    assert post.rows("SELECT address, private_allowed FROM delivery_endpoints") == [(url, True)]


async def test_a_secret_that_is_none_is_refused_by_its_name(post: Post) -> None:
    wrong = operator_endpoint(post, billing_alert_webhook_url=URL, billing_alert_webhook_secret="hunter2")
    with pytest.raises(ConfigurationError, match="BILLING_ALERT_WEBHOOK_SECRET") as refused:
        await wrong.sync(START)
    assert "hunter2" not in refused.value.message


async def test_the_operators_endpoint_hears_of_every_company_and_is_changed_in_the_settings_only(
    post: Post, service: EndpointService
) -> None:
    async with receiving() as receiver:
        settings = {"billing_alert_webhook_url": receiver.url("/x"), "billing_alert_webhook_private": True}
        await operator_endpoint(post, **settings).sync(START)
        async with post.dispatching():
            await post.tell("alert_1", company_id=1)
            await post.tell("alert_1", company_id=2)
            await until(lambda: len(receiver.received) == 2)
    made = await own(post)
    assert made is not None
    assert sorted(of.id for of in receiver.received) == [f"alert_1_{of}_{made.endpoint_id}" for of in (1, 2)]
    assert "webhook-signature" not in receiver.received[0].headers  # no secret was set
    for attempt in (
        service.change(OPERATOR, made.endpoint_id, {"address": URL}, START),
        service.remove(OPERATOR, made.endpoint_id, START),
        service.rotate(OPERATOR, made.endpoint_id, START),
    ):
        with pytest.raises(InvalidInput) as refused:
            await attempt
        assert refused.value.code == "endpoint_from_settings"
    changed = await service.change(OPERATOR, made.endpoint_id, {"events": ["usage.limit.critical"]}, START)
    assert (changed.events, changed.channel) == (("usage.limit.critical",), Channel.WEBHOOK)
    await operator_endpoint(post, **settings).sync(START)
    assert post.endpoint(made.endpoint_id, "events") == (["usage.limit.critical"],)
    assert await DeliveryService(post.application.database).page(member(1), 1) == []
