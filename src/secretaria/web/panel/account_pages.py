"""The tab "Contas WhatsApp" of a company: one card per account, and how to add the first."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import NotFound
from secretaria.services.accounts import PAGE_ACCOUNTS_MAX
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.auth import application_of
from secretaria.web.panel.account_cards import QUALITY_KINDS, ROWS, SOURCE_KINDS
from secretaria.web.panel.account_feed import Cards, read_cards
from secretaria.web.panel.figures import watermark
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.person import person_of, visitor_of, zone_sentence
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page
from secretaria.web.webhooks import WEBHOOK_PATH

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get("/empresas/{company_id}/contas")
async def accounts(
    request: Request,
    company_id: Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)],
    apos: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0,
) -> Response:
    """Show the cards of a company's accounts, CARDS_PAGE a page; another's answers as one that does not exist."""
    caller, user = await person_of(request)
    application, locale, now = application_of(request), locale_of(request, user.locale), application_of(request).clock()
    cards = await read_cards(application, caller, company_id, after=apos)
    show = Format(locale, cards.figures.timezone)
    values = card_values(cards, show, here=f"/empresas/{company_id}/contas", after=apos)
    values |= {
        "texts": values["texts"] | watermark(now, now, show, texts(locale)).texts,
        "zone": zone_sentence(cards.figures, show, now),
        "accounts": await accounts_count(application, caller, company_id),
        "webhook_url": await webhook_url(application, caller, company_id),
    }
    return page(request, "accounts.html", values, locale=locale, visitor=visitor_of(caller, user))


def card_values(cards: Cards, show: Format, *, here: str, after: int) -> dict[str, Any]:
    """Return what the card templates need; `here` is the address that the pager goes on from."""
    glue = "&" if "?" in here else "?"
    company_id = cards.company.company_id
    return {
        "company": cards.figures,
        "cards": [
            {"key": f"c{of.account.account_id}", "account": of.account, "meta": of.meta} for of in cards.details
        ],
        "rows": ROWS,
        "qualities": QUALITY_KINDS,
        "sources": SOURCE_KINDS,
        "texts": cards.view(show).texts,
        "scope": urlencode({"escopo": "contas", "empresa": company_id, "apos": after}),
        "first_url": here if after else "",
        "next_url": f"{here}{glue}apos={cards.next_after}" if cards.next_after else "",
    }


async def accounts_count(application: Application, caller: Caller, company_id: int) -> str:
    """Return how many accounts a company has, as the tab says it."""
    return accounts_text(len(await application.accounts.list(caller, company_id, limit=PAGE_ACCOUNTS_MAX)))


def accounts_text(found: int) -> str:
    """Return a count of accounts as the tab says it; no more than a page of them was counted."""
    return f"{found}+" if found == PAGE_ACCOUNTS_MAX else str(found)


async def webhook_url(application: Application, caller: Caller, company_id: int) -> str:
    """Return the address to paste at Meta: a connection with an app secret of its own has one of its own."""
    general = f"{application.settings.public_url}{WEBHOOK_PATH}"
    if not caller.is_operator:
        return general
    try:
        found = (await application.integrations.get(caller, company_id)).integration
    except NotFound:
        return general
    return f"{general}/{found.integration_id}" if "app_secret" in found.sealed else general
