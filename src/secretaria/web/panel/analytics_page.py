"""The tab "Analytics e Consumo" of a company: its choices, its blocks, and where they lead."""

from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from secretaria.core.period import local_day
from secretaria.services.period_figures import Bucket
from secretaria.services.period_view import DAYS_MAX_BY, Comparison, PeriodView, Step, earlier_period
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.companies import Company
from secretaria.web.auth import application_of
from secretaria.web.panel import plan_view
from secretaria.web.panel.account_pages import accounts_text
from secretaria.web.panel.alert_words import alert_row
from secretaria.web.panel.analytics_query import (
    COMPARISONS,
    DIMENSIONS,
    EVERY_ROW,
    NAME_OF,
    STEPS,
    Metric,
    PageQuery,
    Preset,
    parse,
    too_fine,
)
from secretaria.web.panel.analytics_view import ROWS_SHOWN, Row, Shown, shown
from secretaria.web.panel.analytics_words import bucket_name, dimension_name, meta_words, value_name
from secretaria.web.panel.figures import watermark
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts, texts
from secretaria.web.panel.live_view import with_plan
from secretaria.web.panel.person import person_of, visitor_of, zone_sentence
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page

DATE_FIELDS: Final = ("de", "ate")

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get("/empresas/{company_id}/analytics")
async def analytics(request: Request, company_id: Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]) -> Response:
    """Show a period of a company; another's answers as one that does not exist."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    now, sentences = application.clock(), texts(locale)

    def asked(company: Company) -> PageQuery:
        return parse(request.query_params, local_day(company.schedule, now), sentences)

    blocks = await application.analytics_page.read(caller, company_id, lambda company: asked(company).wanted, now)
    view = blocks.view
    query = asked(blocks.company)
    show = Format(locale, view.company.timezone)
    every_row = request.query_params.get("linhas") == EVERY_ROW
    found = shown(view, query, show, sentences, every_row=every_row)
    with_plan(found.view, blocks.month, show)
    here = f"/empresas/{company_id}/analytics"
    values = {
        "company": view.company,
        "zone": zone_sentence(view.company, show, now),
        "accounts": accounts_text(blocks.accounts),
        "texts": found.view.texts | watermark(now, now, show, sentences).texts,
        "marks": found.view.marks,
        "scope": urlencode({"escopo": "analytics", "empresa": company_id}) + _and(query.query()),
        "query": query,
        "here_path": here,
        "typed": _typed(request, query),
        **_choices(view, query, here, sentences),
        **_links(query, company_id),
        **_blocks(view, query, found, show, sentences),
        "plan": plan_view.shape(blocks.month, show, sentences),
        "meta": None if blocks.meta is None else meta_words(blocks.meta, show, sentences),
        "alerts": [alert_row(alert, show, sentences) for alert in blocks.recent],
    }
    status = 422 if query.problems else 200
    return page(request, "analytics.html", values, locale=locale, visitor=visitor_of(caller, user), status=status)


def _typed(request: Request, query: PageQuery) -> dict[str, str]:
    """Return what the date fields hold: the period on the screen, or what was typed while that is wrong."""
    if not any(of in query.problems for of in DATE_FIELDS):
        return query.dates()
    return {of: request.query_params.get(of, "") for of in DATE_FIELDS}


def _and(query: str) -> str:
    return f"&{query}" if query else ""


def _choices(view: PeriodView, query: PageQuery, here: str, sentences: Texts) -> dict[str, Any]:
    """Return the period picker, the comparison, the chart's and the breakdown's choices: (label, address, chosen)."""
    _ = sentences.gettext
    presets = {
        Preset.TODAY: _("Hoje"),
        Preset.YESTERDAY: _("Ontem"),
        Preset.THIS_WEEK: _("Esta semana"),
        Preset.MONTH: _("Este mês"),
        Preset.LAST_MONTH: _("Mês passado"),
        Preset.WEEK: _("Últimos 7 dias"),
        Preset.THIRTY: _("Últimos 30 dias"),
    }
    comparisons = {
        Comparison.MONTH: _("Mesmos dias do mês anterior"),
        Comparison.BEFORE: _("Período anterior"),
        Comparison.NONE: _("Sem comparação"),
    }
    metrics = {
        Metric.COST: _("Custo"),
        Metric.MESSAGES: _("Mensagens"),
        Metric.TOKENS: _("Tokens"),
        Metric.RESPONSE: _("Resposta"),
    }
    steps = {Step.HOUR: _("Hora"), Step.DAY: _("Dia"), Step.WEEK: _("Semana")}
    days = (view.begun.end - view.begun.start).days
    chosen_comparison = _comparison(view, query)
    return {
        "presets": [
            (label, query.url(here, periodo=of.value, de=None, ate=None, por=None), of == query.preset)
            for of, label in presets.items()
        ],
        "preset_name": presets[query.preset] if query.preset else _("Período"),
        "comparisons": [
            (comparisons[of], query.url(here, comparar=name), of == chosen_comparison)
            for name, of in COMPARISONS.items()
        ],
        "metrics": [(label, query.url(here, metrica=of.value), of == query.metric) for of, label in metrics.items()],
        "metric_name": metrics[query.metric],
        "steps": [
            (
                steps[of],
                query.url(here, por=name) if days <= DAYS_MAX_BY.get(of, days) else "",
                of == query.step,
                too_fine(of, sentences),
            )
            for name, of in STEPS.items()
        ],
        "dimensions": [
            (dimension_name(of, sentences), query.url(here, dim=name, linhas=None), of == query.dimension)
            for name, of in DIMENSIONS.items()
        ],
    }


def _comparison(view: PeriodView, query: PageQuery) -> Comparison:
    """Return the comparison in force, the default's own name where none was chosen."""
    if query.comparison is not None:
        return query.comparison
    by_month = earlier_period(view.begun, Comparison.MONTH) == earlier_period(view.begun, None)
    return Comparison.MONTH if by_month else Comparison.BEFORE


def _links(query: PageQuery, company_id: int) -> dict[str, Any]:
    """Return where exports and explanations are, for what is on the screen."""
    base = f"/empresas/{company_id}"
    dates, filters = query.dates(), query.filters()
    return {
        "explain_url": f"{base}/explicar?{urlencode({'metrica': Metric.COST, **dates, **filters})}",
        "exports": [
            ("CSV", f"{base}/exportar.csv?{urlencode(dates)}"),
            ("Excel", f"{base}/exportar.xlsx?{urlencode(dates)}"),
            ("PDF", f"{base}/relatorio.pdf?{urlencode(dates)}"),
        ],
    }


def _blocks(view: PeriodView, query: PageQuery, found: Shown, show: Format, sentences: Texts) -> dict[str, Any]:
    """Return what the template loops over: buckets, rows with their addresses, the filters in force."""
    here = f"/empresas/{view.company.id}/analytics"
    last = view.last_day
    return {
        "trend": found.trend,
        "buckets": [
            {"name": bucket_name(bucket, query.step, show), "explain_url": _bucket_url(bucket, view, query)}
            for bucket in view.buckets
        ],
        "rows": [_row_links(row, view, query, here) for row in found.rows],
        "dimension_label": dimension_name(query.dimension, sentences),
        "every_row_url": query.url(here, linhas=EVERY_ROW) if len(view.shares) > ROWS_SHOWN + 1 else "",
        "chips": _chips(view, query, here, sentences),
        "is_empty": view.total.is_empty,
        "last_use": None if last is None else show.day_full(last),
        "last_use_url": None if last is None else query.url(
            here, periodo=None, de=last.replace(day=1).isoformat(), ate=last.isoformat(), por=None
        ),
    }  # fmt: skip


def _bucket_url(bucket: Bucket, view: PeriodView, query: PageQuery) -> str:
    """Return where a bucket's cost is explained; a price holds for whole days, so an hour has no page of its own."""
    if query.metric != Metric.COST or query.step == Step.HOUR:
        return ""
    days = {"de": bucket.day, "ate": bucket.end.date() - timedelta(days=1)}
    return f"/empresas/{view.company.id}/explicar?{urlencode({'metrica': Metric.COST, **days, **query.filters()})}"


def _row_links(row: Row, view: PeriodView, query: PageQuery, here: str) -> dict[str, Any]:
    name = NAME_OF[query.dimension]
    narrowed = {**query.filters(), f"f.{name}": row.key or ""}
    explained = urlencode({"metrica": Metric.COST, **query.dates(), **narrowed})
    return {
        "id": row.id,
        "name": row.name,
        "series": row.series,
        "url": "" if row.is_rest else query.url(here, **{f"f_{name}": row.key or "", "linhas": None}),
        "explain_url": "" if row.is_rest else f"/empresas/{view.company.id}/explicar?{explained}",
    }


def _chips(view: PeriodView, query: PageQuery, here: str, sentences: Texts) -> list[tuple[str, str]]:
    """Return (what is filtered, the address without it); an account on the screen has its name."""
    chips = []
    for of, value in query.narrowed.items():
        names = {share.key: share.label for share in view.shares} if of == view.wanted.dimension else {}
        named = names.get(value) or value_name(of, value, sentences)
        chips.append((f"{dimension_name(of, sentences)}: {named}", query.url(here, **{f"f_{NAME_OF[of]}": None})))
    return chips
