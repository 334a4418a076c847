"""The tables of a document: days, breakdowns, alerts, prices and rates. Parts shown add up to the total shown."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from secretaria.core import money
from secretaria.reports.format import UNKNOWN
from secretaria.reports.labels import UNFINISHED_MARK
from secretaria.reports.page import Page, Section, amount_text, mean_response_ms
from secretaria.reports.prices import by_price, price_name
from secretaria.reports.report import AlertLine, Day, PriceLine, Share, Sums, merged

ROWS_MAX: Final = 40
DAYS_IN_TABLE_MAX: Final = 62
LEFT, RIGHT = "left", "right"


def _table(
    heading: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[object]],
    *,
    total: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    widths: Sequence[float] = (),
) -> Section:
    """Return a table. widths are shares of the page, 0: as wide as its texts; without any the first gets the rest."""
    return {
        "kind": "table",
        "heading": heading,
        "columns": [{"title": title, "align": align} for title, align in columns],
        "rows": [list(row) for row in rows],
        "total": list(total) if total else [],
        "notes": list(notes),
        "widths": list(widths) or [1, *[0] * (len(columns) - 1)],
    }


def days(page: Page) -> Section:
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
                  widths=[0, 1, 1, 1.1, 1.1, 1, 1.2, *[1.15] * with_gaps])  # fmt: skip


def _months(days: Sequence[Day]) -> list[Day]:
    months: dict[date, list[Day]] = {}
    for day in days:
        months.setdefault(day.day.replace(day=1), []).append(day)
    return [Day(first, merged(of.sums for of in some), some[-1].unfinished) for first, some in months.items()]


def _quantities(page: Page, sums: Sums) -> list[str]:
    show = page.show
    counts = (sums.messages_inbound, sums.messages_outbound, sums.tokens_input, sums.tokens_output)
    return [*(show.number(count) for count in counts), show.duration(mean_response_ms(sums))]


def _gap(page: Page, sums: Sums, with_gaps: bool) -> list[str]:
    if not with_gaps:
        return []
    counts = (("gap messages", sums.not_priced_messages), ("gap tokens", sums.not_priced_tokens))
    return [" · ".join(page.say(name, n=page.show.number(count)) for name, count in counts if count) or UNKNOWN]


def _shown(parts: Sequence[Sums]) -> list[Decimal | None]:
    """Return the parts' costs rounded so that they add up to the total shown; unknown ones stay unknown."""
    known = iter(money.largest_remainder([of.cost for of in parts if of.cost is not None]))
    return [None if of.cost is None else next(known) for of in parts]


def breakdown(page: Page, name: str) -> list[Section]:
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
        quantities = [show.number(sums.messages), show.number(sums.tokens), show.duration(mean_response_ms(sums))]
        part = Fraction(sums.cost) / Fraction(total.cost) if sums.cost is not None and total.cost else None
        bar = UNKNOWN if part is None else {"bar": float(part), "text": show.percent(part * 100)}
        cells.append([label, *quantities, page.cost(sums, cost), *_gap(page, sums, with_gaps), bar])
    sums_row = [say("total"), show.number(total.messages), show.number(total.tokens)]
    sums_row += [show.duration(mean_response_ms(total)), page.cost(total), *_gap(page, total, with_gaps), ""]
    notes = [say("others note", n=ROWS_MAX - 1)] if others else []
    widths = [1.6, 1, 1.1, 1, 1.2, *[1] * with_gaps, 1.15]
    return [_table(say(f"by {name}"), columns, cells, total=sums_row, notes=notes, widths=widths)]


def _share_name(page: Page, dimension: str, share: Share) -> object:
    if share.key is None:
        return page.say(f"no {dimension}")
    if share.label:
        return share.label
    word = page.say.known(share.key) if dimension in {"category", "direction"} else None
    return word or {"id": share.key}


def alerts(page: Page) -> Section:
    """Return the period's alerts, or that there were none."""
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
    limit = UNKNOWN if alert.limit is None else amount_text(page, alert.metric, alert.limit)
    state = say("open")
    if alert.resolved_at is not None:
        state = say("resolved", moment=show.moment(alert.resolved_at))
    used = amount_text(page, alert.metric, alert.used)
    return [show.moment(alert.fired_at), what, say(alert.level), used, limit, state]


def prices(page: Page) -> Section:
    """Return what was charged at which price; the amounts add up to the cost."""
    report, show, say = page.report, page.show, page.say
    if not report.prices:
        return {"kind": "text", "heading": say("prices"), "text": say("no prices")}
    converted = any(line.rate is not None for line in report.prices)
    columns = [(say("item"), LEFT), (say("quantity"), RIGHT), (say("unit price"), RIGHT)]
    columns += [(say("rate"), RIGHT)] if converted else []
    columns += [(say("amount"), RIGHT), (say("since"), LEFT), (say("source"), LEFT)]
    lines = by_price(report.prices)
    shown = money.largest_remainder([line.amount or Decimal(0) for line in lines])
    rows = []
    for line, amount in list(zip(lines, shown, strict=True))[:ROWS_MAX]:
        rate = [UNKNOWN if line.rate is None else show.rate(line.rate)] if converted else []
        since = _since(page, line.effective_from)
        value = show.money_full(amount, page.currency)
        rows.append([price_name(say, line), show.number(line.quantity), _unit_price(page, line), *rate, value, since,
                     say.source(line.source or "")])  # fmt: skip
    total = [say("total"), "", "", *([""] if converted else []), page.cost(report.total), "", ""]
    notes = [say("others note", n=ROWS_MAX)] if len(lines) > ROWS_MAX else []
    widths = [1.5, *[0] * (len(columns) - 2), 1.2]
    return _table(say("prices"), columns, rows, total=total, notes=notes, widths=widths)


def _since(page: Page, day: date | None) -> str:
    """Return from when on a price or rate holds; the first one of its kind holds for all earlier days too."""
    if day is None or day == date.min or day >= page.report.period.end:
        return page.say("always")
    return page.show.day_full(day)


def _unit_price(page: Page, line: PriceLine) -> str:
    if line.unit_price is None:
        return UNKNOWN
    price = page.show.message_price(line.unit_price, line.currency or page.currency)
    return page.say("per thousand", amount=price) if line.per == 1000 else price


def rates(page: Page) -> list[Section]:
    """Return the exchange rates used, if any."""
    show, say = page.show, page.say
    if not page.report.rates:
        return []
    columns = [(say("pair"), LEFT), (say("rate"), RIGHT), (say("since"), LEFT), (say("source"), LEFT)]
    rows = []
    for of in page.report.rates[:ROWS_MAX]:
        source = f"{say.source(of.source)} ({say('stale')})" if of.stale else say.source(of.source)
        rows.append([f"1 {of.base} → {of.quote}", show.rate(of.rate), _since(page, of.effective_from), source])
    notes = [say("others note", n=ROWS_MAX)] if len(page.report.rates) > ROWS_MAX else []
    return [_table(say("rates"), columns, rows, notes=notes, widths=[1.2, 1, 1, 1.6])]
