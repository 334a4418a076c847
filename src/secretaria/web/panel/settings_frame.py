"""What the settings pages share: whose settings they are, the frame around a tab, the step that confirms a change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.companies import Company
from secretaria.store.users import User
from secretaria.web.auth import application_of, require_same_origin
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts, texts
from secretaria.web.panel.live_view import COMPANIES_PAGE, search_text
from secretaria.web.panel.overview_query import SEARCH_CHARS_MAX
from secretaria.web.panel.person import person_of, visitor_of
from secretaria.web.panel.render import locale_of, page

ROOT: Final = "/configuracoes"
CONFIRMED: Final = "sim"

CompanyAsked = Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)]
CompanyChosen = Annotated[int, Form(ge=1, le=COMPANY_ID_MAX)]
Search = Annotated[str, Query(max_length=SEARCH_CHARS_MAX)]


@dataclass(frozen=True, slots=True)
class Frame:
    """A reader, a company they may see, and how to speak to them."""

    request: Request
    application: Application
    caller: Caller
    user: User
    company: Company
    now: datetime

    @property
    def locale(self) -> str:
        """The reader's language."""
        return locale_of(self.request, self.user.locale)

    @property
    def texts(self) -> Texts:
        """The sentences of that language."""
        return texts(self.locale)

    @property
    def show(self) -> Format:
        """Figures and moments as the reader writes them, on the company's clock."""
        return Format(self.locale, self.company.timezone)

    def url(self, path: str, **more: object) -> str:
        """Return a settings page of this company."""
        return settings_url(path, self.company.company_id, **more)


@dataclass(frozen=True, slots=True)
class Step:
    """A change to confirm: what it is, what it does, and the form that does it."""

    heading: str
    sentences: Sequence[str]
    button: str
    action: str
    back: str
    fields: Mapping[str, str]
    changes: Sequence[tuple[str, str, str]] = ()
    is_danger: bool = False


def settings_url(path: str, company_id: int, **more: object) -> str:
    """Return the address of a settings page of a company."""
    return f"{path}?{urlencode({'empresa': company_id} | more)}"


async def frame_of(request: Request, company_id: int) -> Frame:
    """Return the frame of a company; another's is not found."""
    caller, user = await person_of(request)
    application = application_of(request)
    company = await application.companies.get(caller, company_id)
    return Frame(request, application, caller, user, company, application.clock())


async def posted_frame(request: Request, company_id: int) -> Frame:
    """As frame_of, for a form: only our own pages send them."""
    require_same_origin(request.scope, application_of(request).settings)
    return await frame_of(request, company_id)


async def choose_company(request: Request, path: str, typed: str) -> Response:
    """Lead a member to its own company's page; let the operator choose one."""
    caller, user = await person_of(request)
    if not caller.is_operator:
        return RedirectResponse(settings_url(path, caller.company_id), 303)
    application, locale, search = application_of(request), locale_of(request, user.locale), search_text(typed)
    overview = await application.analytics.overview(caller, application.clock(), limit=COMPANIES_PAGE, search=search)
    found = [(row.company.name, settings_url(path, row.company.id)) for row in overview.companies]
    if len(found) == 1 and not search:
        return RedirectResponse(found[0][1], 303)
    values = {
        "companies": found, "search": search, "search_max": SEARCH_CHARS_MAX, "path": path,
        "more": overview.next_after is not None,
    }  # fmt: skip
    return page(request, "settings_choice.html", values, locale=locale, visitor=visitor_of(caller, user))


def tab_page(
    frame: Frame, template: str, path: str, values: Mapping[str, Any], *, done: Mapping[str, str] | None = None
) -> Response:
    """Show a tab. `done` are the sentences that ?feito= may ask for; a `problem` among the values makes it a 422."""
    said = (done or {}).get(frame.request.query_params.get("feito", ""), "")
    context: dict[str, Any] = {
        "company": {"id": frame.company.company_id, "name": frame.company.name},
        "here_url": frame.url(path), "said": said, "problem": "", "problem_field": "", **values,
    }  # fmt: skip
    status = 422 if context["problem"] else 200
    visitor = visitor_of(frame.caller, frame.user)
    return page(frame.request, template, context, locale=frame.locale, visitor=visitor, status=status)


def confirm_page(frame: Frame, step: Step) -> Response:
    """Show what a change will do, with a button that does it and one that leads back; nothing is written yet."""
    values = {
        "company": {"id": frame.company.company_id, "name": frame.company.name},
        "step": step, "here_url": step.back, "confirmed": CONFIRMED,
    }  # fmt: skip
    visitor = visitor_of(frame.caller, frame.user)
    return page(frame.request, "settings_confirm.html", values, locale=frame.locale, visitor=visitor)
