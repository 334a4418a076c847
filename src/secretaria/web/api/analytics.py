"""The figures of one company, as services/analytics.py gives them."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.core.period import DAY_FIRST, DAY_LAST, Period
from secretaria.core.price import Metric
from secretaria.services.explain import ExplainedLine, Explanation, MissingLine
from secretaria.services.period_figures import Dimension
from secretaria.web.api.routes import ApiRoute, Number, company_asked_for
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/analytics", tags=["Figures"], route_class=ApiRoute)

# Decimals leave as strings with a dot, exactly; FastAPI's own encoder would make floats of them.
_encoder = msgspec.json.Encoder()


@router.get("/summary")
async def summary(
    request: Request, caller: Annotated[Caller, Depends(caller_of)], company_id: Number | None = None
) -> Response:
    """This month so far, today and this week, in the company's time zone. Scope analytics:read.

    company_id may be left out by a company's own credential.
    """
    application = application_of(request)
    company = company_asked_for(caller, company_id)
    return _json(await application.analytics.summary(caller, company, application.clock()))


@router.get("/history")
async def history(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    period: str,
    company_id: Number | None = None,
) -> Response:
    """The last 7 days (period week) or 8 weeks (period month), oldest first, gaps as zeros. Scope analytics:read."""
    application = application_of(request)
    company = company_asked_for(caller, company_id)
    return _json(await application.analytics.history(caller, company, period, application.clock()))


@router.get("/explain")
async def explain(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    *,
    start: Annotated[str, Query(alias="from")],
    end: Annotated[str, Query(alias="to")],
    company_id: Number | None = None,
    metric: str | None = None,
    category: str | None = None,
    account_id: str | None = None,
    model: str | None = None,
    direction: str | None = None,
    cost_center: str | None = None,
    after: str | None = None,
) -> Response:
    """A cost as quantity x unit price x exchange rate, line by line, and a page of the events behind it.

    The local days from `from` to `to`, both included. An empty filter stands for uses without a value. Scope
    analytics:read.
    """
    application = application_of(request)
    given = {
        Dimension.CATEGORY: category,
        Dimension.ACCOUNT: account_id,
        Dimension.MODEL: model,
        Dimension.DIRECTION: direction,
        Dimension.COST_CENTER: cost_center,
    }
    found = await application.explain.read(
        caller,
        company_asked_for(caller, company_id),
        days_asked_for(start, end),
        application.clock(),
        narrowed={of: value or None for of, value in given.items() if value is not None},
        metric=_metric(metric),
        after=after,
    )
    return _json(explanation_json(found))


def _metric(text: str | None) -> Metric | None:
    if text is None or text == "cost":
        return None
    if text not in set(Metric):
        raise InvalidInput("metric is cost, messages or tokens", code="unknown_metric", pointer="metric")
    return Metric(text)


def days_asked_for(first: str, last: str) -> Period:
    """Return the days of a request, both included. Raises InvalidInput (invalid_period)."""
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise InvalidInput("write a day like 2026-11-20", code="invalid_period", pointer="from") from None
    if not (DAY_FIRST <= start <= DAY_LAST and DAY_FIRST <= end < DAY_LAST):
        raise InvalidInput("no such days", code="day_out_of_range", pointer="from")
    return Period(start, end + timedelta(days=1))


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as docs/api.md describes it: exact amounts and the cents that are shown, as texts."""
    return {
        "company": found.company,
        "period": {"from": found.begun.start, "to": found.begun.end - timedelta(days=1)},
        "as_of": found.as_of,
        "version": found.version,
        "currency": found.currency,
        "total": _text(found.total),
        "total_shown": _text(found.total_shown),
        "lower_bound": bool(found.missing),
        "lines": [_line(of) for of in found.lines],
        "not_priced": [
            {**_use(of), "quantity": of.quantity, "lacks": of.lacks, "unit_price": _text(of.unit_price),
             "price_currency": of.price_currency}
            for of in found.missing
        ],
        "events": found.events,
        "next_after": found.next_after,
    }  # fmt: skip


def _line(of: ExplainedLine) -> dict[str, Any]:
    return {
        **_use(of),
        "quantity": of.quantity,
        "unit_price": _text(of.unit_price),
        "per": of.per,
        "price_currency": of.price_currency,
        "price_source": of.price_source,
        "effective_from": of.effective_from,
        "converted_price": _text(of.converted_price),
        "exchange_rates": [
            {"quantity": part.quantity, "exchange_rate": part.rate, "amount": _text(part.amount)} for part in of.parts
        ],
        "amount": _text(of.amount),
        "shown": _text(of.shown),
    }


def _use(of: ExplainedLine | MissingLine) -> dict[str, str | None]:
    return {
        "metric": of.metric,
        "direction": of.direction,
        "category": of.category,
        "market": of.market,
        "model": of.model,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else money.exact_text(amount)


def _json(value: object) -> Response:
    return Response(_encoder.encode(value), media_type="application/json")
