"""The frame of pages that are a company's or the operator's own (company 0), as endpoints and their log are."""

from typing import Annotated, Final

from fastapi import Form, Request

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.period import ZoneSchedule
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.companies import Company
from secretaria.web.auth import application_of, require_same_origin
from secretaria.web.panel.format import HOME_TIMEZONE
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.person import person_of
from secretaria.web.panel.render import locale_of
from secretaria.web.panel.settings_frame import Frame, frame_of

HomeChosen = Annotated[int, Form(ge=0, le=COMPANY_ID_MAX)]
_STATUS: Final = "active"


async def home_frame(request: Request, company_id: int, *, own: bool = False) -> Frame:
    """As frame_of; 0 is the operator's own. Of a member 0 is refused or, with own, its company."""
    caller, user = await person_of(request)
    if own and company_id == OPERATOR_COMPANY_ID:
        company_id = caller.company_id
    if company_id != OPERATOR_COMPANY_ID:
        return await frame_of(request, company_id)
    caller.require_operator()
    application = application_of(request)
    now, name = application.clock(), texts(locale_of(request, user.locale)).gettext("Operadora")
    zone = ZoneSchedule.single(HOME_TIMEZONE)
    home = Company(OPERATOR_COMPANY_ID, name, _STATUS, "BRL", False, now, HOME_TIMEZONE, zone, 0)
    return Frame(request, application, caller, user, home, now)


async def posted_home_frame(request: Request, company_id: int) -> Frame:
    """As home_frame, for a form: only our own pages send them."""
    require_same_origin(request.scope, application_of(request).settings)
    return await home_frame(request, company_id)
