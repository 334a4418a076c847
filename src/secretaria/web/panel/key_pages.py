"""Configurações, tab "Chaves de API": the keys of a company, a new one shown once, the end of one."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.core.access import DEFAULT_SCOPES, OPERATOR_ONLY_SCOPES, Scope
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.services.access import KEY_NAME_CHARS_MAX, KEYS_ACTIVE_MAX, NewKey
from secretaria.services.credential import CredentialKind
from secretaria.store.api_keys import ApiKey
from secretaria.web.panel.i18n import Texts
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

PATH: Final = f"{ROOT}/chaves"
SCOPES_SENT_MAX: Final = 20

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get(PATH)
async def keys_tab(request: Request, empresa: CompanyAsked = 0, q: Search = "") -> Response:
    """Show a company's keys."""
    if empresa == 0:
        return await choose_company(request, PATH, q)
    return await _page(await frame_of(request, empresa))


@router.post(PATH)
async def create_key(
    request: Request,
    empresa: CompanyChosen,
    nome: FormText = "",
    permissoes: Annotated[list[str], Form(max_length=SCOPES_SENT_MAX)] = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """Make a key and show it, this once."""
    frame = await posted_frame(request, empresa)
    name, chosen = nome.strip(), set(permissoes)
    try:
        if not name:
            raise InvalidInput("a key in the panel has a name", code="invalid_name", pointer="/name")
        made = await frame.application.access.create_api_key(frame.caller, empresa, sorted(chosen), name)
    except InvalidInput as error:
        return await _page(frame, entered=(nome, chosen), error=error)
    return await _page(frame, made=made)


@router.post(PATH + "/revogar")
async def revoke_key(
    request: Request, empresa: CompanyChosen, chave: FormText = "", conferi: FormText = ""
) -> Response:
    """End a key, once its name was read and confirmed."""
    frame = await posted_frame(request, empresa)
    keys = await frame.application.access.list_api_keys(frame.caller, empresa)
    key = next((key for key in keys if key.key_id == chave), None)
    if key is None:
        raise NotFound("no such key", code="key_not_found")
    if conferi == CONFIRMED:
        await frame.application.access.revoke_api_key(frame.caller, key.key_id)
        return RedirectResponse(frame.url(PATH, feito="revogada"), 303)
    _ = frame.texts.gettext
    step = Step(
        heading=_("Revogar a chave %(nome)s?") % {"nome": _named(key)},
        sentences=[_("O que usa esta chave deixa de funcionar em um segundo. Não dá para desfazer.")],
        button=_("Revogar chave"), action=PATH + "/revogar", back=frame.url(PATH),
        fields={"empresa": str(empresa), "chave": key.key_id}, is_danger=True,
    )  # fmt: skip
    return confirm_page(frame, step)


async def _page(
    frame: Frame,
    *,
    made: NewKey | None = None,
    entered: tuple[str, set[str]] | None = None,
    error: InvalidInput | None = None,
) -> Response:
    keys = await frame.application.access.list_api_keys(frame.caller, frame.company.company_id)
    words = _scopes(frame.texts)
    offered = [scope for scope in Scope if scope in (_giveable(frame))]
    name, chosen = entered or ("", {scope.value for scope in DEFAULT_SCOPES})
    context: dict[str, Any] = {
        "keys": [_row(frame, key, words) for key in keys if key.revoked_at is None],
        "revoked": [_row(frame, key, words) for key in keys if key.revoked_at is not None],
        "scopes": [(scope.value, words[scope], scope.value in chosen) for scope in offered],
        "name": name,
        "name_max": KEY_NAME_CHARS_MAX,
        "secret": made.text if made else "",
        "secret_name": _named(made.key) if made else "",
    }
    if error is not None:
        field = "nome" if error.code == "invalid_name" else "permissoes"
        context |= {"problem": _problem(error, frame.texts), "problem_field": field}
    done = {"revogada": frame.texts.gettext("Chave revogada.")}
    return tab_page(frame, "settings_keys.html", PATH, context, done=done)


def _giveable(frame: Frame) -> frozenset[Scope]:
    return (frame.caller.scopes | DEFAULT_SCOPES) - OPERATOR_ONLY_SCOPES if frame.caller.is_operator else DEFAULT_SCOPES


def _row(frame: Frame, key: ApiKey, words: dict[Scope, str]) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": _named(key),
        "prefix": f"{CredentialKind.API_KEY.value}_{key.key_id}…",
        "scopes": [words[scope] for scope in Scope if scope in key.scopes],
        "created": frame.show.moment(key.created_at),
        "revoked": frame.show.moment(key.revoked_at) if key.revoked_at else "",
    }


def _named(key: ApiKey) -> str:
    return key.name or key.key_id


def _scopes(sentences: Texts) -> dict[Scope, str]:
    _ = sentences.gettext
    return {
        Scope.USAGE_WRITE: _("enviar uso"),
        Scope.USAGE_BACKFILL: _("enviar uso antigo"),
        Scope.ANALYTICS_READ: _("ler os números"),
        Scope.COMPANIES_WRITE: _("alterar empresas"),
        Scope.KEYS_WRITE: _("gerir chaves e ler o registro"),
        Scope.ENDPOINTS_WRITE: _("gerir destinos de alertas"),
    }


def _problem(error: InvalidInput, sentences: Texts) -> str:
    _ = sentences.gettext
    known = {
        "invalid_name": _("Dê um nome à chave, de até 200 caracteres: diga onde ela será usada."),
        "no_scopes": _("Marque ao menos uma permissão."),
        "too_many_keys": _("Já há %(quantidade)s chaves ativas. Revogue uma antes.") % {"quantidade": KEYS_ACTIVE_MAX},
    }
    return known.get(error.code, _("Nada foi alterado."))
