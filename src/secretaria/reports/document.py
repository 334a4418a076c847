"""A report as ready strings in one language, section by section: what the PDF's template lays out and nothing more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from secretaria.core import money
from secretaria.reports.charts import chart_sections
from secretaria.reports.font import showable
from secretaria.reports.format import UNKNOWN, Format, rounded
from secretaria.reports.labels import UNFINISHED_MARK, Labels
from secretaria.reports.report import AlertLine, Day, Imprint, PriceLine, Share, Sums, UsageReport, grouped, merged

ROWS_MAX: Final = 40
DAYS_IN_TABLE_MAX: Final = 62
LEFT, RIGHT = "left", "right"
FIRST_WIDE, FIRST_NARROW, EVEN = "first-wide", "first-narrow", "even"

Section = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """What every section is written with."""

    report: UsageReport
    imprint: Imprint
    show: Format
    say: Labels

    @property
    def currency(self) -> str:
        """The company's."""
        return self.report.owner.currency

    def cost(self, sums: Sums, shown: Decimal | None = None) -> str:
        """Return a cost in full; shown is its share of a rounded total."""
        amount = sums.cost if shown is None else shown
        return self.show.cost(amount, self.currency, lower_bound=sums.lower_bound, full=True)

    def lacking(self, sums: Sums) -> str:
        """Return "312 mensagens e 4 tokens", or a dash."""
        parts = []
        if sums.not_priced_messages:
            parts.append(self._counted("message", "messages n", sums.not_priced_messages))
        if sums.not_priced_tokens:
            parts.append(self._counted("token", "tokens n", sums.not_priced_tokens))
        return self.say("and").join(parts) or UNKNOWN

    def _counted(self, one: str, many: str, number: int) -> str:
        return self.say(one if number == 1 else many, n=self.show.number(number))


def document(report: UsageReport, imprint: Imprint, locale: str) -> Section:
    """Return the whole document as data for the template, every text showable in its font."""
    page = Page(report, imprint, Format(locale, report.owner.timezone), Labels(locale))
    sections = [
        *_plan(page),
        *chart_sections(page.report, page.show, page.say),
        *_breakdown(page, "category"),
        _days(page),
        *(section for name in report.breakdowns if name != "category" for section in _breakdown(page, name)),
        _alerts(page),
        _prices(page),
        *_rates(page),
        {"kind": "text", "heading": page.say("how"), "text": page.say("how text")},
        _verification(page),
    ]
    content = _cover(page) | {"cards": _cards(page), "sections": sections}
    made = _showable(content)
    assert isinstance(made, dict)  # noqa: S101  a mapping stays one
    return made


def _showable(value: object) -> object:
    if isinstance(value, str):
        return value if value.startswith("<svg") else showable(value)
    if isinstance(value, Mapping):
        return {key: _showable(of) for key, of in value.items()}
    if isinstance(value, Sequence):
        return [_showable(of) for of in value]
    return value


def title_of(report: UsageReport, say: Labels, show: Format) -> tuple[str, str]:
    """Return what kind of report it is, and its period: ("Relatório mensal", "novembro de 2026")."""
    last = report.period.days()[-1]
    days = say("from to", start=show.day_full(report.period.start), end=show.day_full(last))
    if report.is_month:
        return say("monthly report"), show.month(report.period.start)
    return say("weekly report" if report.is_week else "usage report"), days


def _cover(page: Page) -> Section:
    report, imprint, show, say = page.report, page.imprint, page.show, page.say
    owner, as_of = report.owner, show.local(imprint.as_of)
    kind, name = title_of(report, say, show)
    last = report.period.days()[-1]
    legal = [owner.legal_name or "", say("tax id", tax_id=_tax_id(owner.tax_id)) if owner.tax_id else ""]
    about = [
        say("from to", start=show.day_full(report.period.start), end=show.day_full(last)),
        say("days by", zone=owner.timezone),
        say("figures as of", moment=show.moment(as_of)),
    ]
    if imprint.revision is not None and imprint.revision > 1:
        about.append(say("revision", number=imprint.revision))
    reasons = [say("partial running")] if report.unfinished else []
    if report.total.lower_bound:
        reasons.append(say("partial not priced", what=page.lacking(report.total)))
    return {
        "lang": show.locale.partition("-")[0],
        "region": "BR" if show.locale == "pt-BR" else "US",
        "title": f"{kind} · {owner.name} · {name}",
        "company": owner.name,
        "kind": kind,
        "name": name,
        "legal": " · ".join(part for part in legal if part),
        "about": " · ".join(about),
        "partial": say("partial") if report.partial else "",
        "reasons": reasons,
        "date": [as_of.year, as_of.month, as_of.day, as_of.hour, as_of.minute, as_of.second],
        "code": grouped(imprint.code),
        "words": {name: say(name) for name in ("page", "of", "summary", "total")},
    }


def _tax_id(stored: str) -> str:
    """Return a CNPJ as people write it: 12.345.678/0001-95."""
    if len(stored) != 14:
        return stored
    return f"{stored[:2]}.{stored[2:5]}.{stored[5:8]}/{stored[8:12]}-{stored[12:]}"


def _cards(page: Page) -> list[Section]:
    total, show, say = page.report.total, page.show, page.say
    answers = {0: say("no answers"), 1: say("of answer")}
    counted = answers.get(total.response_count, say("of answers", n=show.number(total.response_count)))
    return [
        {"title": say("cost"), "value": page.cost(total), "note": _mean_cost(page)},
        {
            "title": say("messages"),
            "value": show.number(total.messages),
            "note": say("in and out messages", a=show.number(total.messages_inbound),
                        b=show.number(total.messages_outbound)),
        },
        {
            "title": say("tokens"),
            "value": show.number(total.tokens),
            "note": say("in and out tokens", a=show.number(total.tokens_input), b=show.number(total.tokens_output)),
        },
        {"title": say("response"), "value": show.duration(_mean(total)), "note": counted},
    ]  # fmt: skip


def _mean(sums: Sums) -> Fraction | None:
    return Fraction(sums.response_ms, sums.response_count) if sums.response_count > 0 else None


def _mean_cost(page: Page) -> str:
    """Return the mean of the days that are over, or what the cost lacks."""
    costs = [day.sums.cost for day in page.report.days if not day.unfinished]
    if page.report.total.lower_bound:
        return page.say("cost lacks", what=page.lacking(page.report.total))
    if not costs:
        return ""
    whole = money.total(cost for cost in costs if cost is not None)
    mean = rounded(Fraction(whole) / len(costs), 2)
    return page.say("cost a day", amount=page.show.money_full(mean, page.currency))


def _plan(page: Page) -> list[Section]:
    plan, show, say = page.report.plan, page.show, page.say
    if plan is None or not plan.limits:
        return []
    bars = []
    for of in plan.limits:
        used, limit = _amount(page, of.metric, of.used), _amount(page, of.metric, of.limit)
        bars.append({
            "label": say(of.metric),
            "text": say("of limit", used=used, limit=limit, percent=show.percent(of.percent)),
            "share": float(min(of.percent / 100, Decimal(1))),
            "state": of.state,
            "state_text": say(of.state),
        })  # fmt: skip
    return [{"kind": "plan", "heading": say("plan", name=plan.name), "bars": bars}]


def _amount(page: Page, metric: str, amount: Decimal) -> str:
    return page.show.money_full(amount, page.currency) if metric == "cost" else page.show.number(amount)


def _table(
    heading: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[object]],
    *,
    total: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    widths: str = FIRST_WIDE,
) -> Section:
    return {
        "kind": "table",
        "heading": heading,
        "columns": [{"title": title, "align": align} for title, align in columns],
        "rows": [list(row) for row in rows],
        "total": list(total) if total else [],
        "notes": list(notes),
        "widths": widths,
    }


def _days(page: Page) -> Section:
    """Return a row for each day, or for each month where there are too many days."""
    report, show, say = page.report, page.show, page.say
    by_month = len(report.days) > DAYS_IN_TABLE_MAX
    days = _months(report.days) if by_month else list(report.days)
    with_gaps = report.total.lower_bound
    columns = [(say("month" if by_month else "day"), LEFT)]
    columns += [(say(name), RIGHT) for name in ("received", "sent", "tokens in", "tokens out", "response", "cost")]
    columns += [(say("not priced"), RIGHT)] if with_gaps else []
    costs = _shown([day.sums for day in days])
    rows = []
    for day, cost in zip(days, costs, strict=True):
        name = show.month(day.day) if by_month else show.day_named(day.day)
        name += f" {UNFINISHED_MARK}" if day.unfinished else ""
        rows.append([name, *_quantities(page, day.sums), page.cost(day.sums, cost), *_gap(page, day.sums, with_gaps)])
    total = [say("total"), *_quantities(page, report.total), page.cost(report.total)]
    notes = [say("unfinished note")] if any(day.unfinished for day in days) else []
    notes += [say("month parts note")] if by_month else []
    total += _gap(page, report.total, with_gaps)
    return _table(say("month by month" if by_month else "day by day"), columns, rows, total=total, notes=notes,
                  widths=FIRST_NARROW)  # fmt: skip


def _months(days: Sequence[Day]) -> list[Day]:
    months: dict[Any, list[Day]] = {}
    for day in days:
        months.setdefault(day.day.replace(day=1), []).append(day)
    return [Day(first, merged(of.sums for of in some), some[-1].unfinished) for first, some in months.items()]


def _quantities(page: Page, sums: Sums) -> list[str]:
    show = page.show
    counts = (sums.messages_inbound, sums.messages_outbound, sums.tokens_input, sums.tokens_output)
    return [*(show.number(count) for count in counts), show.duration(_mean(sums))]


def _gap(page: Page, sums: Sums, with_gaps: bool) -> list[str]:
    if not with_gaps:
        return []
    counts = (("gap messages", sums.not_priced_messages), ("gap tokens", sums.not_priced_tokens))
    return [" · ".join(page.say(name, n=page.show.number(count)) for name, count in counts if count) or UNKNOWN]


def _shown(parts: Sequence[Sums]) -> list[Decimal | None]:
    """Return the parts' costs rounded so that they add up to the total shown; unknown ones stay unknown."""
    known = iter(money.largest_remainder([of.cost for of in parts if of.cost is not None]))
    return [None if of.cost is None else next(known) for of in parts]


def _breakdown(page: Page, name: str) -> list[Section]:
    """Return a dimension's shares, the dearest first; not where all use is without a value of it."""
    report, show, say = page.report, page.show, page.say
    shares = report.breakdowns.get(name, ())
    if not any(share.key is not None for share in shares):
        return []
    others = shares[ROWS_MAX - 1 :] if len(shares) > ROWS_MAX else ()
    first = shares[: len(shares) - len(others)]
    rows: list[tuple[object, Sums]] = [(_share_name(page, name, share), share.sums) for share in first]
    if others:
        rows.append((say("others", n=show.number(len(others))), merged(share.sums for share in others)))
    total, with_gaps = report.total, report.total.lower_bound
    columns = [(say(name), LEFT), *((say(of), RIGHT) for of in ("messages", "tokens", "response", "cost"))]
    columns += [(say("not priced"), RIGHT)] if with_gaps else []
    columns.append((say("share"), RIGHT))
    cells = []
    for (label, sums), cost in zip(rows, _shown([sums for _, sums in rows]), strict=True):
        quantities = [show.number(sums.messages), show.number(sums.tokens), show.duration(_mean(sums))]
        part = Fraction(sums.cost) / Fraction(total.cost) if sums.cost is not None and total.cost else None
        bar = UNKNOWN if part is None else {"bar": float(part), "text": show.percent(part * 100)}
        cells.append([label, *quantities, page.cost(sums, cost), *_gap(page, sums, with_gaps), bar])
    sums_row = [say("total"), show.number(total.messages), show.number(total.tokens), show.duration(_mean(total))]
    sums_row += [page.cost(total), *_gap(page, total, with_gaps), ""]
    notes = [say("others note", n=ROWS_MAX - 1)] if others else []
    return [_table(say(f"by {name}"), columns, cells, total=sums_row, notes=notes, widths=EVEN)]


def _share_name(page: Page, dimension: str, share: Share) -> object:
    if share.key is None:
        return page.say(f"no {dimension}")
    if share.label:
        return share.label
    word = page.say.known(share.key) if dimension in {"category", "direction"} else None
    return word or {"id": share.key}


def _alerts(page: Page) -> Section:
    say = page.say
    if not page.report.alerts:
        return {"kind": "text", "heading": say("alerts"), "text": say("no alerts")}
    columns = [(say("when"), LEFT), (say("what"), LEFT), (say("level"), LEFT), (say("used"), RIGHT)]
    columns += [(say("limit"), RIGHT), (say("state"), LEFT)]
    rows = [_alert(page, alert) for alert in page.report.alerts[:ROWS_MAX]]
    return _table(say("alerts"), columns, rows)


def _alert(page: Page, alert: AlertLine) -> list[object]:
    show, say = page.show, page.say
    metric = say(alert.metric)
    what = say("not priced alert", metric=metric)
    if alert.kind == "limit":
        what = say("limit crossed", metric=metric, threshold=alert.threshold)
    limit = UNKNOWN if alert.limit is None else _amount(page, alert.metric, alert.limit)
    state = say("open")
    if alert.resolved_at is not None:
        state = say("resolved", moment=show.moment(alert.resolved_at))
    used = _amount(page, alert.metric, alert.used)
    return [show.moment(alert.fired_at), what, say(alert.level), used, limit, state]


def price_name(say: Labels, line: PriceLine) -> str:
    """Return what was charged in words: "Mensagens · Enviadas · Marketing · BR"."""
    parts = [say(line.metric), say.known(line.direction or "") if line.metric == "messages" else line.model]
    if line.metric == "messages":
        parts += [say.known(line.category or "") or line.category, line.market]
    return " · ".join(part for part in parts if part)


def _prices(page: Page) -> Section:
    report, show, say = page.report, page.show, page.say
    if not report.prices:
        return {"kind": "text", "heading": say("prices"), "text": say("no prices")}
    converted = any(line.rate is not None for line in report.prices)
    columns = [(say("item"), LEFT), (say("quantity"), RIGHT), (say("unit price"), RIGHT)]
    columns += [(say("rate"), RIGHT)] if converted else []
    columns += [(say("amount"), RIGHT), (say("since"), LEFT), (say("source"), LEFT)]
    shown = money.largest_remainder([line.amount or Decimal(0) for line in report.prices])
    rows = []
    for line, amount in list(zip(report.prices, shown, strict=True))[:ROWS_MAX]:
        rate = [UNKNOWN if line.rate is None else show.rate(line.rate)] if converted else []
        since = say("always") if line.effective_from is None else show.day_full(line.effective_from)
        value = show.money_full(amount, page.currency)
        rows.append([price_name(say, line), show.number(line.quantity), _unit_price(page, line), *rate, value, since,
                     say.source(line.source or "")])  # fmt: skip
    total = [say("total"), "", "", *([""] if converted else []), page.cost(report.total), "", ""]
    notes = [say("others note", n=ROWS_MAX)] if len(report.prices) > ROWS_MAX else []
    return _table(say("prices"), columns, rows, total=total, notes=notes)


def _unit_price(page: Page, line: PriceLine) -> str:
    if line.unit_price is None:
        return UNKNOWN
    price = page.show.message_price(line.unit_price, line.currency or page.currency)
    return page.say("per thousand", amount=price) if line.per == 1000 else price


def _rates(page: Page) -> list[Section]:
    show, say = page.show, page.say
    if not page.report.rates:
        return []
    columns = [(say("pair"), LEFT), (say("rate"), RIGHT), (say("since"), LEFT), (say("source"), LEFT)]
    rows = []
    for of in page.report.rates[:ROWS_MAX]:
        source = f"{say.source(of.source)} ({say('stale')})" if of.stale else say.source(of.source)
        rows.append([f"1 {of.base} → {of.quote}", show.rate(of.rate), show.day_full(of.effective_from), source])
    notes = [say("others note", n=ROWS_MAX)] if len(page.report.rates) > ROWS_MAX else []
    return [_table(say("rates"), columns, rows, notes=notes, widths=EVEN)]


def _verification(page: Page) -> Section:
    say, imprint = page.say, page.imprint
    return {
        "kind": "verification",
        "heading": say("verification"),
        "text": say("verification text"),
        "label": say("code"),
        "code": grouped(imprint.code),
        "url": imprint.verify_url,
    }
