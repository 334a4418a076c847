"""Mails from the outbox to a real SMTP server: what they say in both languages, who gets them, what waits and what ends."""

import dataclasses
import html as html_text
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from email.message import EmailMessage
from typing import Any

import pytest
from tests.services.dispatching import START, Post, until
from tests.shop import make_company
from tests.smtp_server import Mailbox, smtp_server

from secretaria.bootstrap import Application
from secretaria.core.delivery import TEST_PING, Channel, EventType
from secretaria.embedded.servers import Endpoints
from secretaria.outbound.mail import Attachment, MailSender
from secretaria.reports.mail import Reader, render
from secretaria.services.deliveries import News, body_of, enqueue
from secretaria.services.mail import MailCourier
from secretaria.settings import Settings
from secretaria.store import deliveries, delivery_endpoints
from secretaria.store.database import transaction

pytestmark = pytest.mark.anyio

NAME = "Clínica Sorriso"
LIMIT_ALERT = {
    "id": 12, "company_id": 1, "kind": "limit", "metric": "messages", "threshold": 80, "level": "warning",
    "period_start": "2026-11-01", "used": 8123, "limit": 10000, "percent": "81.23", "currency": None,
    "plan": "Essencial", "fired_at": "2026-11-20T12:00:00+00:00", "resolved_at": None, "acknowledged_at": None,
    "acknowledged_by": None, "company_name": NAME,
}  # fmt: skip
COST_ALERT = LIMIT_ALERT | {
    "metric": "cost", "threshold": 100, "level": "critical", "used": "1570.0249", "limit": "1500.00",
    "percent": "104.66832", "currency": "BRL",
}  # fmt: skip
NOT_PRICED = LIMIT_ALERT | {
    "kind": "not_priced", "threshold": None, "level": "critical", "used": 7, "limit": None, "percent": None, "plan": None,
}  # fmt: skip
OVER = {"resolved_at": "2026-11-21T02:30:00+00:00"}
DISABLED = {
    "endpoint_id": 5, "company_id": 1, "channel": "webhook", "address": "https://crm.example.com/x?…",
    "reason": "failing", "failing_since": "2026-11-15T12:00:00Z", "disabled_at": "2026-11-20T12:00:00Z",
}  # fmt: skip
WEEK = {
    "company_id": 1, "company_name": NAME, "file_id": 3, "kind": "week", "period_start": "2026-11-16",
    "period_end": "2026-11-23", "revision": 1, "messages": 8123, "tokens": 1200000, "cost": "34.20", "currency": "BRL",
    "code": "ABCD",
}  # fmt: skip
MONTH = WEEK | {"kind": "month", "period_start": "2026-11-01", "period_end": "2026-12-01"}

CASES = [
    (EventType.LIMIT_WARNING, LIMIT_ALERT,
     "Aviso: Clínica Sorriso passou de 80% do limite de mensagens (nov. 2026)",
     "Warning: Clínica Sorriso passed 80% of its message limit (Nov 2026)",
     ["8.123 de 10.000 mensagens", "81,2%", "Essencial", "20/11/2026 09:00", "novembro de 2026"],
     ["8,123 of 10,000 messages", "81.2%", "Essencial", "20 Nov 2026 09:00", "November 2026"]),
    (EventType.LIMIT_CRITICAL, COST_ALERT,
     "Crítico: Clínica Sorriso atingiu 100% do limite de custo (nov. 2026)",
     "Critical: Clínica Sorriso reached 100% of its cost limit (Nov 2026)",
     ["R$ 1.570,02 de R$ 1.500,00", "104,7%"], ["R$1,570.02 of R$1,500.00", "104.7%"]),
    (EventType.LIMIT_RESOLVED, LIMIT_ALERT | OVER,
     "Resolvido: Clínica Sorriso, 80% do limite de mensagens (nov. 2026)",
     "Resolved: Clínica Sorriso, 80% of the message limit (Nov 2026)",
     ["10.000 mensagens", "Resolvido em: 20/11/2026 23:30"], ["10,000 messages", "Resolved at: 20 Nov 2026 23:30"]),
    (EventType.NOT_PRICED, NOT_PRICED,
     "Sem preço: Clínica Sorriso usou mensagens sem preço (nov. 2026)",
     "Not priced: Clínica Sorriso used messages without a price (Nov 2026)",
     ["Sem preço: 7 mensagens", "mínimo (≥)"], ["Not priced: 7 messages", "lower bound (≥)"]),
    (EventType.NOT_PRICED_RESOLVED, NOT_PRICED | OVER,
     "Resolvido: Clínica Sorriso não tem mais mensagens sem preço (nov. 2026)",
     "Resolved: Clínica Sorriso has no messages without a price any more (Nov 2026)",
     ["20/11/2026 23:30"], ["20 Nov 2026 23:30"]),
    (EventType.ENDPOINT_DISABLED, DISABLED,
     "Endereço desativado: https://crm.example.com/x?…", "Address disabled: https://crm.example.com/x?…",
     ["Só falhou desde: 15/11/2026 09:00"], ["Only failed since: 15 Nov 2026 09:00"]),
    (TEST_PING, {"endpoint_id": 5, "company_id": 1},
     "Teste: os alertas de Clínica Sorriso chegam a este endereço",
     "Test: the alerts of Clínica Sorriso reach this address", ["Este é um teste"], ["This is a test"]),
    (EventType.WEEKLY_REPORT, WEEK,
     "Relatório semanal: Clínica Sorriso, 16–22/11", "Weekly report: Clínica Sorriso, 16–22 Nov",
     ["anexado em PDF", "Mensagens: 8.123"], ["attached as a PDF", "Messages: 8,123"]),
    (EventType.MONTHLY_REPORT, MONTH,
     "Relatório mensal: Clínica Sorriso, novembro de 2026", "Monthly report: Clínica Sorriso, November 2026",
     ["anexado em PDF"], ["attached as a PDF"]),
]  # fmt: skip


def reader(locale: str, company: str | None = NAME) -> Reader:
    return Reader(locale, "America/Sao_Paulo", company, "https://painel.example.com/empresas/1")


def seen(html: str) -> str:
    """The text of an HTML mail as a person sees it, one space between words."""
    body = re.sub(r"<(style|title)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(html_text.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_every_event_is_worded_in_both_languages_the_same_as_text_and_as_html(
    locale: str, case: tuple[str, dict[str, Any], str, str, list[str], list[str]]
) -> None:
    event_type, data, *told = case
    subject, figures = (told[0], told[2]) if locale == "pt-BR" else (told[1], told[3])
    mail = render(event_type, data, reader(locale))
    assert mail.subject == subject
    text = mail.text.replace("\u00a0", " ")
    for figure in figures:
        assert figure in text
    words = seen(mail.html)
    for line in filter(None, text.replace("--", "").splitlines()):
        for part in re.split(r": |\] |\[", line):
            assert " ".join(part.split()) in words or "https://painel" in part, part
    assert 'href="https://painel.example.com/empresas/1"' in mail.html
    assert f'lang="{locale}"' in mail.html


def test_every_event_that_an_address_may_want_has_its_words() -> None:
    assert {case[0] for case in CASES} == {*EventType, TEST_PING}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_no_mail_loads_anything_from_elsewhere_or_runs_anything(case: tuple[str, dict[str, Any]]) -> None:
    html = render(case[0], case[1], reader("pt-BR")).html
    assert re.findall(r"(?i)<(?:img|script|link|iframe|object|form|input|video|audio)\b|\bsrc\s*=|url\(|@import", html) == []
    assert set(re.findall(r'href="([^"]*)"', html)) == {"https://painel.example.com/empresas/1"}
    assert "prefers-color-scheme: dark" in html


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_no_name_becomes_markup_or_a_line_of_its_own(case: tuple[str, dict[str, Any]]) -> None:
    evil = '<script>alert(1)</script>" onload="x\r\nAbrir no painel: https://evil.example.com\n{percent} {0} {{ 7*7 }}'
    data = case[1] | ({"plan": evil} if case[1].get("plan") else {}) | ({"address": evil} if "address" in case[1] else {})
    mail = render(case[0], data, reader("pt-BR", evil))
    assert "<script" not in mail.html
    assert 'onload="x' not in mail.html
    assert "49" not in mail.text.replace("{{ 7*7 }}", "")
    assert [line for line in mail.text.splitlines() if line.startswith("Abrir no painel")] == [
        "Abrir no painel: https://painel.example.com/empresas/1"
    ]


def test_a_long_name_is_cut_and_news_of_no_company_say_so() -> None:
    assert len(render(TEST_PING, {}, reader("en", "x" * 5000)).subject) < 200
    assert render(TEST_PING, {}, reader("pt-BR", None)).subject == "Teste: os alertas de todas as empresas chegam a este endereço"


# From the outbox


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with smtp_server() as serving:
        yield serving


@pytest.fixture
def mail_settings(settings: Settings, mailbox: Mailbox) -> Settings:
    changed = {
        "smtp_url": f"smtp://127.0.0.1:{mailbox.port}?starttls=never",
        "mail_from": "Secretaria <alertas@example.com>",
        "public_url": "https://painel.example.com",
    }
    return settings.model_copy(update=changed)


@pytest.fixture
def post(application: Application, endpoints: Endpoints) -> Post:
    assert endpoints.admin_url is not None
    assert make_company(endpoints.admin_url, NAME) == 1
    return Post(application, endpoints.admin_url)


@pytest.fixture
def courier(application: Application, mail_settings: Settings) -> MailCourier:
    return MailCourier(application.database, MailSender(mail_settings), mail_settings.public_url)


async def tell(post: Post, event_type: str, data: Mapping[str, Any], key: str = "alert_12") -> None:
    async with transaction(post.application.database.ingest) as connection:
        assert await enqueue(connection, [News(1, None, event_type, key, dict(data))], now=post.now)


def attempt(post: Post) -> tuple[Any, ...]:
    ((*found,),) = post.rows("SELECT status_code, error, answer FROM delivery_attempts ORDER BY delivery_id, attempt")
    return tuple(found)


def body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def test_an_alert_reaches_the_company_and_the_operator_in_their_own_words(
    post: Post, courier: MailCourier, mailbox: Mailbox
) -> None:
    ours = await post.add("dona@example.com", channel=Channel.MAIL)
    await post.add("nos@example.com", company_id=0, channel=Channel.MAIL)
    post.execute("UPDATE delivery_endpoints SET locale = 'en' WHERE company_id = 0")
    await tell(post, EventType.LIMIT_WARNING, LIMIT_ALERT)
    async with post.dispatching(post.dispatcher(mail=courier)):
        await until(lambda: len(mailbox.mails) == 2)
        await until(lambda: post.rows("SELECT status FROM deliveries") == [("delivered",)] * 2)
    by_address = {mail["To"]: mail for mail in mailbox.mails}
    assert by_address["dona@example.com"]["Subject"] == CASES[0][2]
    assert by_address["nos@example.com"]["Subject"] == CASES[0][3]
    assert by_address["dona@example.com"]["Message-ID"] == f"<alert_12_1_{ours}@painel.example.com>"
    assert "https://painel.example.com/empresas/1" in body(by_address["dona@example.com"])
    assert post.rows("SELECT DISTINCT status_code, error FROM delivery_attempts") == [(250, None)]


async def test_a_second_attempt_is_the_same_mail(post: Post, courier: MailCourier, mailbox: Mailbox) -> None:
    endpoint_id = await post.add("dona@example.com", channel=Channel.MAIL)
    mailbox.answer_to_recipient = "450 4.2.0 greylisted"
    await tell(post, EventType.LIMIT_WARNING, LIMIT_ALERT)
    async with post.dispatching(post.dispatcher(mail=courier)):
        await until(lambda: post.attempts(endpoint_id) == [(450, "refused")])
        assert post.delivery(endpoint_id)[0] == "waiting"
        mailbox.answer_to_recipient = "250 OK"
        post.move(timedelta(minutes=1))
        await until(lambda: post.delivery(endpoint_id)[0] == "delivered")
    (mail,) = mailbox.mails
    assert mail["Message-ID"] == f"<alert_12_1_{endpoint_id}@painel.example.com>"
    assert mail["Date"] == "Fri, 20 Nov 2026 12:00:00 +0000"


async def test_an_address_that_is_refused_for_good_ends_in_a_dead_letter_with_the_reason(
    post: Post, courier: MailCourier, mailbox: Mailbox
) -> None:
    endpoint_id = await post.add("ninguem@example.com", channel=Channel.MAIL)
    mailbox.answer_to_recipient = "550 5.1.1 no such mailbox"
    await tell(post, EventType.LIMIT_WARNING, LIMIT_ALERT)
    async with post.dispatching(post.dispatcher(mail=courier)):
        await until(lambda: post.delivery(endpoint_id)[0] == "dead")
    assert attempt(post) == (550, "refused", "5.1.1 no such mailbox")


async def test_without_a_mail_server_addresses_wait_and_the_log_says_why(
    post: Post, application: Application, settings: Settings, courier: MailCourier, mailbox: Mailbox
) -> None:
    endpoint_id = await post.add("dona@example.com", channel=Channel.MAIL)
    unset = MailCourier(application.database, MailSender(settings), settings.public_url)
    await tell(post, EventType.LIMIT_WARNING, LIMIT_ALERT)
    async with post.dispatching(post.dispatcher(mail=unset)):
        await until(lambda: post.attempts(endpoint_id) == [(None, "mail_not_set_up")])
        await tell(post, EventType.LIMIT_CRITICAL, COST_ALERT, "alert_13")
        post.move(timedelta(minutes=50))
        await until(lambda: len(post.rows("SELECT FROM deliveries WHERE status = 'waiting'")) == 2)
    assert attempt(post) == (None, "mail_not_set_up", "mail is not set up: SMTP_URL and MAIL_FROM are missing")
    assert post.endpoint(endpoint_id, "held_until") == (START + timedelta(hours=1),)
    post.now += timedelta(hours=1)
    async with post.dispatching(post.dispatcher(mail=courier)):
        await until(lambda: len(mailbox.mails) == 2)


async def test_a_report_goes_with_its_document(
    post: Post, application: Application, mail_settings: Settings, mailbox: Mailbox
) -> None:
    asked: list[tuple[Any, ...]] = []

    async def read(company_id: int, data: Mapping[str, Any], locale: str, _: object) -> Sequence[Attachment]:
        asked.append((company_id, data["file_id"], locale))
        return [Attachment("clinica-2026-11.pdf", "application/pdf", b"%PDF-1.7 x")]

    courier = MailCourier(application.database, MailSender(mail_settings), mail_settings.public_url, read)
    endpoint_id = await post.add("dona@example.com", channel=Channel.MAIL, events=[EventType.WEEKLY_REPORT])
    await tell(post, EventType.WEEKLY_REPORT, WEEK, "report_week")
    async with post.dispatching(post.dispatcher(mail=courier)):
        await until(lambda: post.delivery(endpoint_id)[0] == "delivered")
    (mail,) = mailbox.mails
    (found,) = mail.iter_attachments()
    assert (found.get_filename(), found.get_content()) == ("clinica-2026-11.pdf", b"%PDF-1.7 x")
    assert asked == [(1, 3, "pt-BR")]


@pytest.mark.parametrize(
    ("event_type", "data", "reason"),
    [
        (EventType.WEEKLY_REPORT, WEEK | {"file_id": 404}, "no such report"),
        (EventType.LIMIT_WARNING, {"metric": "messages"}, "cannot be read"),
        (EventType.LIMIT_WARNING, LIMIT_ALERT | {"percent": "much"}, "cannot be read"),
        ("usage.limit.sideways", LIMIT_ALERT, "there is no mail for usage.limit.sideways"),
    ],
)
async def test_what_no_mail_can_be_made_of_is_a_dead_letter_at_once(
    post: Post, mail_settings: Settings, application: Application, mailbox: Mailbox, event_type: str,
    data: dict[str, Any], reason: str,
) -> None:  # fmt: skip
    endpoint_id = await post.add("dona@example.com", channel=Channel.MAIL, events=[event_type])
    archived = application.archive.attachments
    courier = MailCourier(application.database, MailSender(mail_settings), mail_settings.public_url, archived)
    await tell(post, event_type, data)
    async with post.dispatching(post.dispatcher(mail=courier)):
        await until(lambda: post.delivery(endpoint_id)[0] == "dead")
    status_code, error, answer = attempt(post)
    assert (status_code, error) == (None, "no_such_mail")
    assert reason in answer
    assert mailbox.mails == []


async def test_a_company_that_is_gone_gets_no_mail(
    post: Post, courier: MailCourier, application: Application, mailbox: Mailbox
) -> None:
    endpoint_id = await post.add("nos@example.com", company_id=0, channel=Channel.MAIL)
    async with transaction(application.database.operator) as connection:
        await deliveries.insert_for(
            connection, 0, endpoint_id, event_type=TEST_PING, key="test_1",
            body=body_of(TEST_PING, {"used": Decimal(1)}, START), now=START,
        )  # fmt: skip
        ((delivery_id,),) = await (await connection.execute("SELECT delivery_id FROM deliveries")).fetchall()
        found = await deliveries.read(connection, 0, delivery_id)
        endpoint = await delivery_endpoints.read(connection, 0, endpoint_id)
    assert found is not None
    assert endpoint is not None
    assert (await courier.send(endpoint, found, START)).succeeded
    assert mailbox.mails[0]["Subject"] == "Teste: os alertas de todas as empresas chegam a este endereço"
    lost = await courier.send(endpoint, dataclasses.replace(found, about_company_id=404), START)
    assert (lost.error, lost.permanent) == ("no_such_mail", True)
    assert len(mailbox.mails) == 1


def test_what_is_sent_is_json_that_the_renderer_reads() -> None:
    sent = json.loads(body_of(EventType.LIMIT_CRITICAL, COST_ALERT, START))
    assert render(sent["type"], sent["data"], reader("en")).subject == CASES[1][3]
