"""Configurações, tab "Financeiro": the connection to Meta, the prices and the rate in force, the account cards."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.core.meta_cost import TodaySource, TotalSource
from secretaria.core.price import default_whatsapp_prices
from secretaria.core.rate_card import PRODUCT_CARD
from secretaria.services.integrations import FIELDS, Shown
from secretaria.services.prices_in_force import PricesInForce
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.integrations import SECRET_COLUMNS
from secretaria.store.users import User
from secretaria.web.auth import application_of, require_same_origin
from secretaria.web.panel import card_import, connection
from secretaria.web.panel.account_feed import read_cards
from secretaria.web.panel.account_pages import card_values, webhook_url
from secretaria.web.panel.figures import watermark
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts, texts
from secretaria.web.panel.person import person_of, visitor_of, zone_sentence
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page
from secretaria.web.panel.session import FORM_CHARS_MAX
from secretaria.web.panel.settings_frame import (
    ROOT,
    CompanyAsked,
    CompanyChosen,
    Search,
    choose_company,
    settings_url,
)

PATH: Final = ROOT
PRODUCT_SOURCE: Final = default_whatsapp_prices()[0][-1]

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get(PATH)
async def settings(
    request: Request,
    empresa: CompanyAsked = 0,
    apos: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0,
    q: Search = "",
) -> Response:
    """Show a company's settings; without one the operator chooses, and a member comes to its own."""
    if empresa == 0:
        return await choose_company(request, PATH, q)
    caller, user = await person_of(request)
    return await finance_page(request, caller, user, empresa, after=apos)


class ConnectionForm(BaseModel):
    """The form as a browser sends it."""

    empresa: int = Field(ge=1, le=COMPANY_ID_MAX)
    access_token: str = Field(default="", max_length=FORM_CHARS_MAX, repr=False)
    app_secret: str = Field(default="", max_length=FORM_CHARS_MAX, repr=False)
    verify_token: str = Field(default="", max_length=FORM_CHARS_MAX, repr=False)
    ad_account_id: str = Field(default="", max_length=FORM_CHARS_MAX)
    business_id: str = Field(default="", max_length=FORM_CHARS_MAX)
    waba_id: str = Field(default="", max_length=FORM_CHARS_MAX)
    total_source: str = Field(default="", max_length=FORM_CHARS_MAX)
    today_source: str = Field(default="", max_length=FORM_CHARS_MAX)


@router.post(PATH + "/meta")
async def save_connection(request: Request, form: Annotated[ConnectionForm, Form()]) -> Response:
    """Save what was filled in; an empty field keeps what is there."""
    require_same_origin(request.scope, application_of(request).settings)
    caller, user = await person_of(request)
    entered: dict[str, str] = {name: getattr(form, name).strip() for name in FIELDS}
    change: dict[str, str | None] = {name: value for name, value in entered.items() if value}
    empresa = form.empresa
    application, locale = application_of(request), locale_of(request, user.locale)
    try:
        await application.integrations.put(caller, empresa, change, application.clock())
    except InvalidInput as error:
        field, problem = connection.problem_of(error, texts(locale))
        again = {name: value for name, value in entered.items() if name not in SECRET_COLUMNS}
        more = {"problem": problem, "problem_field": field, "entered": again}
        return await finance_page(request, caller, user, empresa, status=422, more=more)
    return RedirectResponse(settings_url(PATH, empresa, salvo=1) + "#meta", 303)


@router.post(PATH + "/meta/testar")
async def test_connection(request: Request, empresa: CompanyChosen) -> Response:
    """Ask Meta for a little of each part, and show the page with what it answered."""
    require_same_origin(request.scope, application_of(request).settings)
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    checks = await application.meta.test(caller, empresa, application.clock())
    return await finance_page(
        request, caller, user, empresa, more={"checks": connection.tested(checks, texts(locale))}
    )


async def finance_page(
    request: Request,
    caller: Caller,
    user: User,
    company_id: int,
    *,
    after: int = 0,
    status: int = 200,
    more: dict[str, Any] | None = None,
    card_form: dict[str, Any] | None = None,
) -> Response:
    """Show the tab; `more` and `card_form` are what a form of the connection or of the rate cards has to say."""
    application, locale, now = application_of(request), locale_of(request, user.locale), application_of(request).clock()
    if status != 200 or more or card_form:
        caller.require_operator()
    cards = await read_cards(application, caller, company_id, after=after)
    in_force = await application.prices_in_force.read(caller, company_id, now)
    show, sentences = Format(locale, cards.figures.timezone), texts(locale)
    values = card_values(cards, show, here=settings_url(PATH, company_id), after=after)
    values |= {
        "here_url": settings_url(PATH, company_id),
        "texts": values["texts"] | watermark(now, now, show, sentences).texts,
        "zone": zone_sentence(cards.figures, show, now),
        "prices": _priced_by(in_force, show, sentences),
        "rate": _rate(in_force, show, sentences),
        "connection": None, "card_form": None,
        "saved": request.query_params.get("salvo") == "1",
        "problem": "", "problem_field": "", "entered": {}, "checks": [],
        "webhook_url": await webhook_url(application, caller, company_id),
    } | (more or {})  # fmt: skip
    if caller.is_operator:
        shown = await _shown(request, caller, company_id)
        values["connection"] = connection.status(shown, show, sentences) | {
            "fields": _fields(shown), "is_saved": shown is not None, "has_general_secret": bool(
                application.settings.whatsapp_app_secret
            ),
        }  # fmt: skip
        published = request.query_params.get("publicada", "")
        found = await card_import.form_values(application, caller, company_id, show, sentences, published=published)
        values["card_form"] = found | {"chosen": in_force.cards[0].card} | (card_form or {})
    return page(request, "settings.html", values, locale=locale, visitor=visitor_of(caller, user), status=status)


async def _shown(request: Request, caller: Caller, company_id: int) -> Shown | None:
    try:
        return await application_of(request).integrations.get(caller, company_id)
    except NotFound as error:
        if error.code != "integration_not_found":
            raise
        return None


def _fields(shown: Shown | None) -> dict[str, str]:
    """Return what the form shows: ids as they are, secrets masked, choices as they stand."""
    if shown is None:
        blank = dict.fromkeys(FIELDS, "")
        return blank | {"total_source": TotalSource.MESSAGES.value, "today_source": TodaySource.ESTIMATED.value}
    found = shown.integration
    ids = {name: getattr(found, name) or "" for name in ("ad_account_id", "business_id", "waba_id")}
    choice = {"total_source": found.choice.total_source.value, "today_source": found.choice.today_source.value}
    return ids | choice | {name: text or "" for name, text in shown.masked.items()}


def _priced_by(in_force: PricesInForce, show: Format, sentences: Texts) -> list[dict[str, str]]:
    rows = []
    for card in in_force.cards:
        is_product = card.card == PRODUCT_CARD
        rows.append(
            {
                "whom": card.account_name or sentences.gettext("Contas sem tabela própria"),
                "card": sentences.gettext("Tabela do produto") if is_product else card.card,
                "source": _source(card.source, sentences),
                "since": show.day_full(card.effective_from) if card.effective_from else "—",
            }
        )
    return rows


def _source(source: str | None, sentences: Texts) -> str:
    if source is None:
        return sentences.gettext("Sem preço para o Brasil")
    return sentences.gettext("documento do produto") if source == PRODUCT_SOURCE else source


def _rate(in_force: PricesInForce, show: Format, sentences: Texts) -> dict[str, str] | None:
    rate = in_force.rate
    if rate is None:
        return None
    return {
        "value": f"US$ 1 = {show.message_price(rate.rate, rate.quote)}",
        "source": rate.source,
        "since": sentences.gettext("desde %(dia)s") % {"dia": show.day_full(rate.effective_from)},
        "stale": sentences.gettext("Sem cotação nova: vale a última.") if in_force.rate_is_stale else "",
    }
