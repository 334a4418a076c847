"""The operator's list of all companies: what needs attention first, filters with counts, rows that stay alive."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.services.overview import PAGE_COMPANIES, OverviewPage
from secretaria.web.auth import application_of
from secretaria.web.panel import overview_words as words
from secretaria.web.panel.figures import watermark
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts, texts
from secretaria.web.panel.overview_feed import scope_of
from secretaria.web.panel.overview_query import (
    CURSOR_CHARS_MAX,
    DEFAULT_ORDER,
    ORDER_NAMES,
    SEARCH_CHARS_MAX,
    SITUATIONS,
    WITHOUT_PLAN,
    ListQuery,
)
from secretaria.web.panel.person import person_of, visitor_of
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get("/empresas")
async def companies(
    request: Request,
    q: Annotated[str, Query(max_length=SEARCH_CHARS_MAX)] = "",
    apos: Annotated[str, Query(max_length=CURSOR_CHARS_MAX)] = "",
) -> Response:
    """List companies, PAGE_COMPANIES a page; a member goes to its own."""
    del q, apos  # their lengths are checked here; ListQuery reads them with the rest
    caller, user = await person_of(request)
    if not caller.is_operator:
        return RedirectResponse(f"/empresas/{caller.company_id}", 303)
    application, locale = application_of(request), locale_of(request, user.locale)
    now, sentences, show = application.clock(), texts(locale), Format(locale)
    query = ListQuery.of(request.query_params)
    found = await application.overview.page(caller, query.wanted, now)
    view = words.rows_view(found.rows, show, sentences)
    view.texts.update(words.counts_view(found.counts, now, show, sentences).texts)
    view.texts.update(watermark(now, now, show, sentences).texts)
    view.texts["ordem-mudou"] = ""
    values: dict[str, Any] = {
        "rows": [{"id": row.company_id, "name": row.name, "active": row.status == "active"} for row in found.rows],
        "texts": view.texts,
        "marks": view.marks,
        "query": query,
        "month": show.month_short(show.local(now).date()),
        "search_max": SEARCH_CHARS_MAX,
        "spark": (words.SPARK_WIDTH, words.SPARK_HEIGHT),
        "scope": scope_of(query, (row.company_id for row in found.rows)),
        **_choices(query, found, sentences),
        **_place(query, found, show, sentences),
    }
    return page(request, "companies.html", values, locale=locale, visitor=visitor_of(caller, user))


def _choices(query: ListQuery, found: OverviewPage, texts: Texts) -> dict[str, Any]:
    """Return the filters: chips, plans, orders, and where each column's heading leads."""
    _ = texts.gettext
    names = {"critico": _("Crítico"), "aviso": _("Aviso"), "sem-dados": _("Sem dados"), "sem-preco": _("Sem preço")}
    icons = {"critico": ("✕", "crit"), "aviso": ("▲", "warn"), "sem-dados": ("◌", ""), "sem-preco": ("?", "warn")}
    hints = {"sem-dados": _("Nenhum uso há 3 dias ou mais"), "sem-preco": _("Uso deste mês sem preço")}
    chips = []
    for name, situation in SITUATIONS.items():
        chosen = query.situation == name
        icon, kind = icons[name]
        chips.append({
            "id": f"n-{situation}", "icon": icon, "kind": kind, "name": names[name], "chosen": chosen,
            "hint": hints.get(name, ""), "url": query.url(situation="" if chosen else name),
        })  # fmt: skip
    plans = [("", _("todos")), (WITHOUT_PLAN, _("sem plano")), *((str(number), name) for number, name in found.plans)]
    return {"chips": chips, "plans": plans, "orders": _orders(texts), "headings": _headings(query)}


def _orders(texts: Texts) -> list[tuple[str, str]]:
    _ = texts.gettext
    return [
        (DEFAULT_ORDER, _("Atenção primeiro")),
        ("nome", _("Nome, de A a Z")), ("nome-desc", _("Nome, de Z a A")),
        ("custo", _("Maior custo")), ("custo-asc", _("Menor custo")),
        ("uso", _("Maior uso do plano")), ("uso-asc", _("Menor uso do plano")),
        ("mensagens", _("Mais mensagens")), ("mensagens-asc", _("Menos mensagens")),
    ]  # fmt: skip


def _headings(query: ListQuery) -> dict[str, dict[str, str]]:
    """Return where a column's heading leads: to its order, or, where that is in force, to its opposite."""
    found = {}
    for name, opposite in (("nome", "nome-desc"), ("custo", "custo-asc"), ("uso", "uso-asc"),
                           ("mensagens", "mensagens-asc")):  # fmt: skip
        sort = ""
        if query.order in {name, opposite}:
            sort = "descending" if ORDER_NAMES[query.order][1] else "ascending"
        found[name] = {"url": query.url(order=opposite if query.order == name else name), "sort": sort}
    return found


def _place(query: ListQuery, found: OverviewPage, show: Format, texts: Texts) -> dict[str, Any]:
    """Return where in the list this page is, and where the others are."""
    situation = SITUATIONS.get(query.situation)
    total = found.counts.total if situation is None else found.counts.situations[situation]
    shown = len(found.rows)
    return {
        "range": words.range_text(found.first, shown, total, show, texts) if shown else "",
        "first_url": query.url() if query.after else "",
        "next_url": query.url(after=found.next_after) if found.next_after else "",
        "clear_url": query.url(search="", situation="", plan=""),
        "is_paged": total > PAGE_COMPANIES or bool(query.after),
    }
