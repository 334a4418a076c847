"""Who looks at a page, and whose day it tells of."""

from datetime import datetime

from fastapi import Request

from secretaria.core.access import Caller
from secretaria.core.errors import NotAuthenticated
from secretaria.services.figures import CompanyFigures
from secretaria.store.users import User
from secretaria.web.auth import application_of, caller_of
from secretaria.web.panel.first_run_card import card_of
from secretaria.web.panel.format import HOME_TIMEZONE, Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.render import Visitor, locale_of


async def person_of(request: Request) -> tuple[Caller, User]:
    """Return who is logged in; an API key opens no pages. What is open for them stands in the frame of every page."""
    caller = await caller_of(request)
    application = application_of(request)
    user = await application.access.user_of(caller)
    if user is None:
        raise NotAuthenticated("the panel needs a person's session")
    company_id = request.path_params.get("company_id")
    request.state.standing = await application.alert_pages.standing(caller, int(company_id) if company_id else None)
    if company_id:
        locale = locale_of(request, user.locale)
        request.state.first_run = await card_of(request, caller, int(company_id), locale)
    return caller, user


def visitor_of(caller: Caller, user: User) -> Visitor:
    """Return the person as the top bar shows it."""
    return Visitor(email=user.email, is_operator=caller.is_operator)


def zone_sentence(figures: CompanyFigures, show: Format, now: datetime) -> str:
    """Return the zone's name where it is not Brasília's: whoever reads a day must know whose day it is."""
    if figures.timezone == HOME_TIMEZONE:
        return ""
    return texts(show.locale).gettext("Horário de %(zona)s (%(distancia)s)") % {
        "zona": figures.timezone,
        "distancia": show.offset(now),
    }
