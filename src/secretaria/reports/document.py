"""A report as ready strings in one language, section by section: what the PDF's template lays out and nothing more."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from secretaria.core import money
from secretaria.reports import tables
from secretaria.reports.charts import chart_sections
from secretaria.reports.font import showable
from secretaria.reports.format import Format, rounded
from secretaria.reports.labels import Labels
from secretaria.reports.page import Page, Section, amount_text, mean_response_ms
from secretaria.reports.report import Imprint, UsageReport, grouped


def document(report: UsageReport, imprint: Imprint, locale: str) -> Section:
    """Return the whole document as data for the template, every text showable in its font."""
    page = Page(report, imprint, Format(locale, report.owner.timezone), Labels(locale))
    sections = [
        *_plan(page),
        *chart_sections(page.report, page.show, page.say),
        *tables.breakdown(page, "category"),
        tables.days(page),
        *(section for name in report.breakdowns if name != "category" for section in tables.breakdown(page, name)),
        tables.alerts(page),
        tables.prices(page),
        *tables.rates(page),
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
        {"title": say("response"), "value": show.duration(mean_response_ms(total)), "note": counted},
    ]  # fmt: skip


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
        used, limit = amount_text(page, of.metric, of.used), amount_text(page, of.metric, of.limit)
        # Cut as the panel cuts it: 99,99 % is not yet 100.
        share = money.cut(of.percent, 1) if of.percent >= 1 else of.percent
        bars.append({
            "label": say(of.metric),
            "text": say("of limit", used=used, limit=limit, percent=show.percent(share)),
            "share": float(min(of.percent / 100, Decimal(1))),
            "state": of.state,
            "state_text": say(of.state),
        })  # fmt: skip
    return [{"kind": "plan", "heading": say("plan", name=plan.name), "bars": bars}]


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
