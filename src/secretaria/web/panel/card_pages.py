"""Rate cards in the tab "Financeiro", for operators: a preview that stores nothing, the import, the choice."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.services.rate_cards import CARD_NAME_CHARS_MAX, ImportOptions
from secretaria.store.users import User
from secretaria.web.auth import application_of, require_same_origin
from secretaria.web.panel.card_import import (
    CARD_FILE_BYTES_MAX,
    CARD_FILE_TEXT_CHARS_MAX,
    checked,
    entered_date,
    packed,
    plan_values,
    problem_of,
    unpacked,
)
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.person import person_of, visitor_of
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page
from secretaria.web.panel.session import FormText
from secretaria.web.panel.settings_frame import CompanyChosen
from secretaria.web.panel.settings_pages import PATH, finance_page

CARDS_PATH: Final = f"{PATH}/tabelas"

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.post(CARDS_PATH + "/previa")
async def preview_card(
    request: Request,
    empresa: CompanyChosen,
    tabela: FormText = "",
    desde: FormText = "",
    arquivo: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Show what a file would change and from when; nothing is stored."""
    caller, user = await _operator_of(request)
    entered = {"tabela": tabela.strip(), "desde": desde.strip()}
    try:
        content = checked(await arquivo.read(CARD_FILE_BYTES_MAX + 1) if arquivo else b"")
        return await _preview_page(request, caller, user, empresa, content=content, entered=entered)
    except InvalidInput as error:
        return await _refused(request, caller, user, empresa, error=error, entered=entered)


@router.post(CARDS_PATH)
async def publish_card(
    request: Request,
    empresa: CompanyChosen,
    *,
    tabela: FormText = "",
    desde: FormText = "",
    conteudo: Annotated[str, Form(max_length=CARD_FILE_TEXT_CHARS_MAX)] = "",
    conferi: FormText = "",
) -> Response:
    """Import what the preview showed, once it was checked against its source."""
    caller, user = await _operator_of(request)
    application, entered = application_of(request), {"tabela": tabela.strip(), "desde": desde.strip()}
    try:
        content = unpacked(conteudo)
        if conferi != "sim":
            return await _preview_page(request, caller, user, empresa, content=content, entered=entered, unchecked=True)
        options = _options(entered)
        await application.companies.get(caller, empresa)
        plan = await application.rate_cards.import_file(caller, content, options, now=application.clock())
    except InvalidInput as error:
        return await _refused(request, caller, user, empresa, error=error, entered=entered)
    return RedirectResponse(f"{PATH}?{urlencode({'empresa': empresa, 'publicada': plan.card})}#tabelas", 303)


@router.post(CARDS_PATH + "/usar")
async def use_card(
    request: Request,
    empresa: CompanyChosen,
    escolhida: Annotated[str, Form(max_length=CARD_NAME_CHARS_MAX)] = "",
) -> Response:
    """Let a card price a company's accounts without one of their own from its next day on."""
    caller, user = await _operator_of(request)
    application = application_of(request)
    try:
        await application.rate_cards.activate(caller, empresa, card=escolhida, now=application.clock())
    except InvalidInput as error:
        return await _refused(request, caller, user, empresa, error=error, entered={"tabela": "", "desde": ""})
    return RedirectResponse(f"{PATH}?{urlencode({'empresa': empresa})}#tabelas", 303)


async def _operator_of(request: Request) -> tuple[Caller, User]:
    require_same_origin(request.scope, application_of(request).settings)
    caller, user = await person_of(request)
    caller.require_operator()
    return caller, user


def _options(entered: dict[str, str]) -> ImportOptions:
    return ImportOptions(entered["tabela"] or None, entered_date(entered["desde"]))


async def _refused(
    request: Request, caller: Caller, user: User, company_id: int, *, error: InvalidInput, entered: dict[str, str]
) -> Response:
    field, problem = problem_of(error, texts(locale_of(request, user.locale)))
    more: dict[str, Any] = {"problem": problem, "problem_field": field, "entered": entered}
    return await finance_page(request, caller, user, company_id, status=422, card_form=more)


async def _preview_page(
    request: Request,
    caller: Caller,
    user: User,
    company_id: int,
    *,
    content: bytes,
    entered: dict[str, str],
    unchecked: bool = False,
) -> Response:
    application, locale = application_of(request), locale_of(request, user.locale)
    company = await application.companies.get(caller, company_id)
    options = _options(entered)
    plan = await application.rate_cards.preview(caller, content, options, now=application.clock())
    values = {
        "company": company,
        "plan": plan_values(plan, Format(locale), texts(locale)),
        "content": packed(content),
        "unchecked": unchecked,
        "here_url": f"{PATH}?{urlencode({'empresa': company_id})}",
    }
    status = 422 if unchecked else 200
    return page(request, "card_preview.html", values, locale=locale, visitor=visitor_of(caller, user), status=status)
