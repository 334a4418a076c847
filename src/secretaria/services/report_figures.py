"""Fills a report (reports/report.py) from a period's figures, its alerts and its plan, and keeps its code."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core.access import Caller
from secretaria.core.limit import percent, state
from secretaria.core.period import Period, month_of
from secretaria.core.plan import LimitMetric, PlanLimits
from secretaria.reports import report as shape
from secretaria.reports.report import Imprint, UsageReport
from secretaria.services.figures import RateUsed
from secretaria.services.period_figures import Dimension, PeriodFigures, PeriodReads, PriceUsed, read_company
from secretaria.services.rated_cells import Figures
from secretaria.services.scope import company_transaction
from secretaria.store import alerts, plans, report_files
from secretaria.store.alerts import Alert
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database

VERIFY_PATH: Final = "/verify"
SHOWN: Final = (
    Dimension.CATEGORY, Dimension.ACCOUNT, Dimension.MODEL, Dimension.DIRECTION, Dimension.COST_CENTER,
)  # fmt: skip
_ONE_DAY: Final = timedelta(days=1)


async def read_report(
    database: Database, caller: Caller, company_id: int, period: Period, now: datetime
) -> tuple[UsageReport, datetime]:
    """Return a company's report and the moment its figures were read at."""
    figures = await PeriodReads(database).read(caller, company_id, period, now, dimensions=SHOWN)
    async with company_transaction(database, caller, company_id, snapshot=True) as connection:
        company = await read_company(connection, company_id)
        fired = await _alerts(connection, company, period)
        limits = await _limits(connection, company, figures)
    return _report(figures, company, fired, limits), figures.as_of.replace(microsecond=0)


async def keep_code(
    connection: Connection, report: UsageReport, canonical: bytes, as_of: datetime, public_url: str
) -> Imprint:
    """Note the report's code, once, and return what its document says of itself."""
    code = shape.code_of(canonical)
    kept = await report_files.keep_code(connection, report.owner.company_id, code, report.period, as_of=as_of)
    return imprint_of(code, kept, public_url)


def imprint_of(code: str, as_of: datetime, public_url: str, *, revision: int | None = None) -> Imprint:
    """Return what a document says of itself."""
    return Imprint(code, as_of, f"{public_url.rstrip('/')}{VERIFY_PATH}/{code}", revision)


def sums_of(of: Figures) -> shape.Sums:
    """Return figures as a report holds them: equal amounts are equal texts."""
    return shape.Sums(
        of.messages_inbound,
        of.messages_outbound,
        of.tokens_input,
        of.tokens_output,
        of.response_ms,
        of.response_count,
        None if of.cost is None else shape.exact(of.cost),
        of.not_priced_messages,
        of.not_priced_tokens,
    )


def days_of(figures: PeriodFigures) -> tuple[shape.Day, ...]:
    """Return the days of a period's figures."""
    return tuple(shape.Day(day.day, sums_of(day.figures), day.unfinished) for day in figures.days)


def _report(
    figures: PeriodFigures, company: Company, fired: Iterable[Alert], limits: PlanLimits | None
) -> UsageReport:
    return UsageReport(
        owner=shape.Owner(
            company.company_id,
            company.name,
            company.legal_name,
            company.tax_id,
            figures.company.timezone,
            figures.currency,
        ),
        period=figures.period,
        total=sums_of(figures.total),
        days=days_of(figures),
        breakdowns={
            dimension.value: tuple(
                shape.Share(share.key, share.label, sums_of(share.figures)) for share in figures.breakdowns[dimension]
            )
            for dimension in SHOWN
        },
        prices=tuple(_price(line) for line in figures.prices),
        rates=tuple(_rate(line) for line in figures.rates),
        plan=None if limits is None else _plan(limits, figures),
        alerts=tuple(_alert(alert) for alert in fired),
    )


def _price(line: PriceUsed) -> shape.PriceLine:
    return shape.PriceLine(
        line.metric.value,
        line.category,
        line.market,
        line.model,
        line.direction.value,
        line.quantity,
        shape.exact(line.unit_price),
        line.per,
        line.currency,
        line.source,
        line.effective_from,
        None if line.rate is None else Decimal(line.rate.rate),
        shape.exact(line.amount),
    )


def _rate(line: RateUsed) -> shape.RateLine:
    return shape.RateLine(line.base, line.quote, Decimal(line.rate), line.effective_from, line.source, line.stale)


def _alert(alert: Alert) -> shape.AlertLine:
    return shape.AlertLine(
        alert.fired_at,
        alert.kind.value,
        alert.metric.value,
        alert.threshold,
        alert.level.value,
        shape.exact(alert.used),
        None if alert.limit is None else shape.exact(alert.limit),
        None if alert.percent is None else shape.exact(alert.percent),
        alert.resolved_at,
    )


async def _alerts(connection: Connection, company: Company, period: Period) -> list[Alert]:
    """Return the alerts of whole months of the period, and those that fired within it; oldest first."""
    months = sorted({month_of(day) for day in period.days()})
    keys = [(company.company_id, month.start) for month in months]
    found = await alerts.read_periods(connection, keys)
    start, end = period.bounds(company.schedule)
    whole = {month.start for month in months if month.start in period and month.end <= period.end}
    return [
        alert
        for key in keys
        for alert in found[key]
        if alert.period_start in whole or start <= alert.fired_at < end
    ]


async def _limits(connection: Connection, company: Company, figures: PeriodFigures) -> PlanLimits | None:
    """Return the limits in force on the last day of a calendar month so far: only a month is held against them."""
    if figures.period != month_of(figures.period.start) or not figures.days:
        return None
    company_id = company.company_id
    found = await plans.read_in_force(connection, {company_id: figures.days[-1].day})
    return found.get(company_id)


def _plan(limits: PlanLimits, figures: PeriodFigures) -> shape.Plan:
    total = figures.total
    used = {
        LimitMetric.MESSAGES: Decimal(total.messages),
        LimitMetric.TOKENS: Decimal(total.tokens),
        LimitMetric.COST: shape.exact(total.cost or Decimal(0)),
    }
    lines = []
    for metric in LimitMetric:
        limit = limits.limit_of(metric)
        if limit is None or (metric == LimitMetric.COST and limits.currency != figures.currency):
            continue
        reached = state(used[metric], limit, limits.thresholds).value
        share = shape.exact(percent(used[metric], limit))
        lines.append(shape.LimitUse(metric.value, shape.exact(limit), used[metric], share, reached))
    return shape.Plan(limits.name, tuple(lines))
