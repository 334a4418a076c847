"""Configurações, tab "Usuários": who logs in for a company, and for operators their own people as well."""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.account import Role
from secretaria.core.errors import InvalidInput, NotAllowed, NotFound
from secretaria.services.passwords import generated_password
from secretaria.store.users import User
from secretaria.web.panel.i18n import LOCALE_NAMES, Texts
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.session import FormText
from secretaria.web.panel.settings_frame import (
    CONFIRMED,
    ROOT,
    CompanyAsked,
    CompanyChosen,
    Frame,
    Search,
    Step,
    choose_company,
    confirm_page,
    frame_of,
    posted_frame,
    tab_page,
)

PATH: Final = f"{ROOT}/usuarios"

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get(PATH)
async def users_tab(request: Request, empresa: CompanyAsked = 0, q: Search = "") -> Response:
    """Show who logs in; operators invite, disable and reset."""
    if empresa == 0:
        return await choose_company(request, PATH, q)
    return await _page(await frame_of(request, empresa))


@router.post(PATH)
async def invite_user(
    request: Request, empresa: CompanyChosen, email: FormText = "", papel: FormText = "", idioma: FormText = "pt-BR"
) -> Response:
    """Make a user with a first password that is shown this once."""
    frame = await posted_frame(request, empresa)
    frame.caller.require_operator()
    entered = {"email": email.strip(), "role": papel, "locale": idioma}
    password = generated_password()
    home = empresa if papel == Role.MEMBER.value else None
    try:
        user = await frame.application.access.create_user(
            frame.caller, entered["email"], role=papel, company_id=home, password=password, locale=idioma
        )
    except InvalidInput as error:
        return await _page(frame, entered=entered, error=error)
    return await _page(frame, secret=(user.email, password))


@router.post(PATH + "/desativar")
async def disable_user(
    request: Request, empresa: CompanyChosen, usuario: FormText = "", conferi: FormText = ""
) -> Response:
    """Shut a user out, once confirmed; nobody does it to themselves."""
    frame = await posted_frame(request, empresa)
    user = await _named(frame, usuario)
    if user.user_id == frame.user.user_id:
        raise NotAllowed("nobody shuts themselves out", code="own_access")
    if conferi == CONFIRMED:
        await frame.application.access.disable_user(frame.caller, user.email)
        return RedirectResponse(frame.url(PATH, feito="desativado"), 303)
    _ = frame.texts.gettext
    step = Step(
        heading=_("Desativar %(email)s?") % {"email": user.email},
        sentences=[_("As sessões abertas terminam na hora e o acesso não volta pelo painel.")],
        button=_("Desativar acesso"), action=PATH + "/desativar", back=frame.url(PATH),
        fields={"empresa": str(empresa), "usuario": str(user.user_id)}, is_danger=True,
    )  # fmt: skip
    return confirm_page(frame, step)


@router.post(PATH + "/senha")
async def reset_password(
    request: Request, empresa: CompanyChosen, usuario: FormText = "", conferi: FormText = ""
) -> Response:
    """Give a user a new first password, once confirmed, and show it this once."""
    frame = await posted_frame(request, empresa)
    user = await _named(frame, usuario)
    if conferi == CONFIRMED:
        password = generated_password()
        await frame.application.access.set_password(frame.caller, user.email, password)
        return await _page(frame, secret=(user.email, password))
    _ = frame.texts.gettext
    step = Step(
        heading=_("Gerar nova senha para %(email)s?") % {"email": user.email},
        sentences=[_("A senha atual deixa de valer e as sessões abertas terminam. A nova aparece uma única vez.")],
        button=_("Gerar nova senha"), action=PATH + "/senha", back=frame.url(PATH),
        fields={"empresa": str(empresa), "usuario": str(user.user_id)},
    )  # fmt: skip
    return confirm_page(frame, step)


async def _named(frame: Frame, user_id: str) -> User:
    """Return the active user a form names: of this company, or an operator; raises NotAllowed and NotFound."""
    frame.caller.require_operator()
    for home in (frame.company.company_id, OPERATOR_COMPANY_ID):
        for user in await frame.application.access.list_users(frame.caller, home):
            if str(user.user_id) == user_id and user.disabled_at is None:
                return user
    raise NotFound("no such user", code="user_not_found")


async def _page(
    frame: Frame,
    *,
    secret: tuple[str, str] | None = None,
    entered: dict[str, str] | None = None,
    error: InvalidInput | None = None,
) -> Response:
    access, _ = frame.application.access, frame.texts.gettext
    members = await access.list_users(frame.caller, frame.company.company_id)
    operators = await access.list_users(frame.caller, OPERATOR_COMPANY_ID) if frame.caller.is_operator else []
    context: dict[str, Any] = {
        "groups": [(_("Desta empresa"), [_row(frame, user) for user in members])],
        "may_change": frame.caller.is_operator,
        "roles": [(Role.MEMBER.value, _("Cliente (só esta empresa)")),
                  (Role.OPERATOR.value, _("Operador (todas as empresas)"))],
        "languages": list(LOCALE_NAMES.items()),
        "entered": entered or {"email": "", "role": Role.MEMBER.value, "locale": "pt-BR"},
        "secret": secret[1] if secret else "", "secret_email": secret[0] if secret else "",
    }  # fmt: skip
    if operators:
        context["groups"].append((_("Operadores, de todas as empresas"), [_row(frame, user) for user in operators]))
    if error is not None:
        field = "papel" if error.code in {"unknown_role", "role_and_company"} else "email"
        context |= {"problem": _problem(error, frame.texts), "problem_field": field}
    return tab_page(frame, "settings_users.html", PATH, context, done={"desativado": _("Acesso desativado.")})


def _row(frame: Frame, user: User) -> dict[str, Any]:
    return {
        "id": user.user_id,
        "email": user.email,
        "language": LOCALE_NAMES.get(user.locale, user.locale),
        "created": frame.show.moment(user.created_at),
        "disabled": frame.show.moment(user.disabled_at) if user.disabled_at else "",
        "is_self": user.user_id == frame.user.user_id,
    }


def _problem(error: InvalidInput, sentences: Texts) -> str:
    _ = sentences.gettext
    known = {
        "invalid_email": _("Informe um e-mail, como ana@exemplo.com.br."),
        "already_exists": _("Já existe um usuário com este e-mail."),
        "unknown_role": _("Escolha o papel."),
    }
    return known.get(error.code, _("Nada foi alterado."))
