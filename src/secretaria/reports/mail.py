"""Mails as people read them: what happened, in the reader's language, as text and as HTML of the same content.

`render` knows the event types of core/delivery.py and what their data holds; services/mail.py sends what it returns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from secretaria.core.delivery import TEST_PING, DisabledReason, EventType
from secretaria.core.errors import InvalidInput
from secretaria.core.plan import LimitMetric
from secretaria.reports.format import Format
from secretaria.reports.mail_words import WORDS, Words

NAME_CHARS_MAX: Final = 100
ADDRESS_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a mail is for, and about whom: company is None where it is about all of them (or about none)."""

    locale: str
    timezone: str
    company: str | None
    url: str


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail's words, twice: the same content as text and as HTML."""

    subject: str
    text: str
    html: str


class _Alert(msgspec.Struct):
    """store/alerts.as_json, as far as mails tell it."""

    metric: LimitMetric
    threshold: int | None
    period_start: date
    used: int | str
    limit: int | str | None
    percent: str | None
    currency: str | None
    plan: str | None
    fired_at: datetime
    resolved_at: datetime | None = None


class _Endpoint(msgspec.Struct):
    address: str
    reason: DisabledReason
    failing_since: datetime | None = None


class _Report(msgspec.Struct):
    """period_end is exclusive."""

    period_start: date
    period_end: date
    messages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Page:
    """What both templates show; level picks the colour, badge says it in a word."""

    subject: str
    level: str
    badge: str
    heading: str
    lead: str
    facts: list[tuple[str, str]]
    url: str


@dataclass(frozen=True, slots=True)
class _Pen:
    """One reader's language and figures."""

    reader: Reader
    words: Words
    figures: Format

    @property
    def company(self) -> str:
        """The name, on one line; or that it is about all."""
        return self.words["all_companies"] if self.reader.company is None else one_line(self.reader.company)

    def page(self, kind: str, level: str, facts: list[tuple[str, str]], *, lead: str = "", **values: str) -> _Page:
        """Fill the three sentences of a kind."""
        values = {"company": self.company, **values}
        return _Page(
            self.words[f"{kind}_subject"].format(**values),
            level,
            self.words[level],
            self.words[f"{kind}_heading"].format(**values),
            self.words[lead or f"{kind}_lead"].format(**values),
            [(self.words[label], value) for label, value in facts],
            self.reader.url,
        )

    def figure(self, alert: _Alert, amount: int | str | None) -> str:
        """Return 8.123 or R$ 1.570,02."""
        if alert.metric == LimitMetric.COST and alert.currency is not None:
            return self.figures.money_full(Decimal(amount or 0), alert.currency)
        return self.figures.number(Decimal(amount or 0))

    def amount(self, alert: _Alert, amount: int | str | None) -> str:
        """Return 8.123 mensagens or R$ 1.570,02."""
        figure = self.figure(alert, amount)
        return figure if alert.metric == LimitMetric.COST else f"{figure} {self.words[alert.metric]}"


def render(event_type: str, data: Mapping[str, Any], reader: Reader) -> RenderedMail:
    """Return the mail that tells of this; raises InvalidInput for what no mail is known for, or cannot be read."""
    write = _WRITERS.get(event_type)
    words = WORDS.get(reader.locale)
    if write is None or words is None:
        raise InvalidInput(f"there is no mail for {event_type} in {reader.locale}")
    try:
        page = write(_Pen(reader, words, Format(reader.locale, reader.timezone)), data)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise InvalidInput(f"what a mail of {event_type} tells cannot be read: {error}") from error
    values = {"page": page, "locale": reader.locale, "footer": words["footer"], "open_panel": words["open_panel"]}
    text, html = (_environment.get_template(name).render(values) for name in ("mail.txt", "mail.html"))
    return RenderedMail(page.subject, text, html)


def one_line(text: str, *, chars_max: int = NAME_CHARS_MAX) -> str:
    """Return a name as one line of bounded length: in a text mail a line of its own would read as ours."""
    line = " ".join(text.split())
    return line if len(line) <= chars_max else f"{line[: chars_max - 1]}…"


def _crossed(kind: str) -> Callable[[_Pen, Mapping[str, Any]], _Page]:
    def write(pen: _Pen, data: Mapping[str, Any]) -> _Page:
        alert = msgspec.convert(data, _Alert, strict=False)
        used, limit = pen.figure(alert, alert.used), pen.amount(alert, alert.limit)
        facts = [
            ("company", pen.company),
            ("month", pen.figures.month(alert.period_start)),
            ("used", pen.words["used_of"].format(used=used, limit=limit)),
            ("percent", pen.figures.percent(Decimal(alert.percent or 0))),
            *_plan(alert),
            ("fired_at", pen.figures.moment(alert.fired_at)),
        ]
        return pen.page(kind, kind, facts, **_of_alert(pen, alert))

    return write


def _resolved(pen: _Pen, data: Mapping[str, Any]) -> _Page:
    alert = msgspec.convert(data, _Alert, strict=False)
    facts = [
        ("company", pen.company),
        ("month", pen.figures.month(alert.period_start)),
        ("limit", pen.amount(alert, alert.limit)),
        *_plan(alert),
        ("fired_at", pen.figures.moment(alert.fired_at)),
        *_resolved_at(pen, alert),
    ]
    return pen.page("resolved", "ok", facts, **_of_alert(pen, alert))


def _not_priced(pen: _Pen, data: Mapping[str, Any]) -> _Page:
    alert = msgspec.convert(data, _Alert, strict=False)
    facts = [
        ("company", pen.company),
        ("month", pen.figures.month(alert.period_start)),
        ("not_priced_count", pen.amount(alert, alert.used)),
        ("fired_at", pen.figures.moment(alert.fired_at)),
    ]
    return pen.page("not_priced", "warning", facts, **_of_alert(pen, alert))


def _priced(pen: _Pen, data: Mapping[str, Any]) -> _Page:
    alert = msgspec.convert(data, _Alert, strict=False)
    facts = [
        ("company", pen.company),
        ("month", pen.figures.month(alert.period_start)),
        ("fired_at", pen.figures.moment(alert.fired_at)),
        *_resolved_at(pen, alert),
    ]
    return pen.page("priced", "ok", facts, **_of_alert(pen, alert))


def _disabled(pen: _Pen, data: Mapping[str, Any]) -> _Page:
    endpoint = msgspec.convert(data, _Endpoint, strict=False)
    address = one_line(endpoint.address, chars_max=ADDRESS_CHARS_MAX)
    facts = [("company", pen.company), ("address", address)]
    if endpoint.failing_since is not None:
        facts.append(("since", pen.figures.moment(endpoint.failing_since)))
    return pen.page("disabled", "critical", facts, lead=f"disabled_lead_{endpoint.reason}", address=address)


def _ping(pen: _Pen, data: Mapping[str, Any]) -> _Page:
    del data  # a test tells nothing but itself
    return pen.page("ping", "info", [("company", pen.company)])


def _report(kind: str) -> Callable[[_Pen, Mapping[str, Any]], _Page]:
    def write(pen: _Pen, data: Mapping[str, Any]) -> _Page:
        report = msgspec.convert(data, _Report, strict=False)
        is_month = kind == "monthly"
        days = pen.figures.day_range(report.period_start, report.period_end)
        period = pen.figures.month(report.period_start) if is_month else days
        facts = [
            ("company", pen.company),
            ("period", period),
            ("messages_label", pen.figures.number(report.messages)),
            ("tokens_label", pen.figures.number(report.tokens)),
        ]
        return pen.page(kind, "info", facts, lead="report_lead", period=period)

    return write


def _of_alert(pen: _Pen, alert: _Alert) -> dict[str, str]:
    return {
        "threshold": str(alert.threshold),
        "metric": pen.words[alert.metric],
        "limit": pen.words[f"limit_{alert.metric}"],
        "month": pen.figures.month_short(alert.period_start),
        "month_full": pen.figures.month(alert.period_start),
        "percent": pen.figures.percent(Decimal(alert.percent or 0)),
    }


def _plan(alert: _Alert) -> list[tuple[str, str]]:
    return [("plan", one_line(alert.plan))] if alert.plan else []


def _resolved_at(pen: _Pen, alert: _Alert) -> list[tuple[str, str]]:
    return [] if alert.resolved_at is None else [("resolved_at", pen.figures.moment(alert.resolved_at))]


_WRITERS: Final[Mapping[str, Callable[[_Pen, Mapping[str, Any]], _Page]]] = {
    EventType.LIMIT_WARNING: _crossed("warning"),
    EventType.LIMIT_CRITICAL: _crossed("critical"),
    EventType.LIMIT_RESOLVED: _resolved,
    EventType.NOT_PRICED: _not_priced,
    EventType.NOT_PRICED_RESOLVED: _priced,
    EventType.ENDPOINT_DISABLED: _disabled,
    EventType.WEEKLY_REPORT: _report("weekly"),
    EventType.MONTHLY_REPORT: _report("monthly"),
    TEST_PING: _ping,
}

_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(enabled_extensions=("html",), default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
