"""The card of a company's first steps, as its tabs show it until they are done or hidden."""

from typing import Final

from fastapi import Request

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import NotAllowed, NotFound
from secretaria.store.first_run import FirstSteps
from secretaria.web.auth import application_of
from secretaria.web.panel.first_run_words import FirstRun, card
from secretaria.web.panel.i18n import texts

HIDDEN_COOKIE: Final = "panel_first_run_hidden"
GLUE: Final = "."


def hidden(request: Request) -> list[str]:
    """Return the companies whose card this browser hid."""
    return [of for of in request.cookies.get(HIDDEN_COOKIE, "").split(GLUE) if of.isascii() and of.isdigit()]


async def card_of(request: Request, caller: Caller, company_id: int, locale: str) -> FirstRun | None:
    """Return the card for a company's tab: for operators until all is done, for members until the first event.

    None also where it was hidden, and where there is no such company for the caller: the page will say so.
    """
    application = application_of(request)
    if str(company_id) in hidden(request):
        return None
    try:
        steps = await application.first_run.read(caller, company_id, application.clock())
    except (NotAllowed, NotFound):
        return None
    if all(steps.done) or (steps.event and not caller.is_operator):
        return None
    return made_card(application, caller, company_id, steps, locale)


def made_card(application: Application, caller: Caller, company_id: int, steps: FirstSteps, locale: str) -> FirstRun:
    """Return the card of these facts."""
    public_url = application.settings.public_url
    return card(steps, company_id, texts(locale), is_operator=caller.is_operator, public_url=public_url)
