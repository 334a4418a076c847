"""Configurações, tab "Empresa": what a company is called and kept as, and whether it is suspended."""

from typing import Annotated, Any, Final
from zoneinfo import available_timezones

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from secretaria.core.errors import InvalidInput
from secretaria.core.period import valid_timezone
from secretaria.core.tax_id import shown_cnpj
from secretaria.services.company_identity import CURRENCIES, FIELDS, identity_values
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.panel.i18n import Texts
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.session import FORM_CHARS_MAX, FormText
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

PATH: Final = f"{ROOT}/empresa"
SUSPENDED: Final = "suspended"
# The zones of Brazil, from the one with most people to the one with fewest; the others follow by name.
BRAZIL_ZONES: Final = (
    "America/Sao_Paulo", "America/Bahia", "America/Fortaleza", "America/Recife", "America/Belem", "America/Maceio",
    "America/Cuiaba", "America/Campo_Grande", "America/Manaus", "America/Araguaina", "America/Porto_Velho",
    "America/Boa_Vista", "America/Santarem", "America/Rio_Branco", "America/Eirunepe", "America/Noronha",
)  # fmt: skip

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


class IdentityForm(BaseModel):
    """The form as a browser sends it."""

    empresa: int = Field(ge=1, le=COMPANY_ID_MAX)
    name: str = Field(default="", max_length=FORM_CHARS_MAX)
    legal_name: str = Field(default="", max_length=FORM_CHARS_MAX)
    tax_id: str = Field(default="", max_length=FORM_CHARS_MAX)
    timezone: str = Field(default="", max_length=FORM_CHARS_MAX)
    currency: str = Field(default="", max_length=FORM_CHARS_MAX)
    conferi: str = Field(default="", max_length=FORM_CHARS_MAX)


@router.get(PATH)
async def company_tab(request: Request, empresa: CompanyAsked = 0, q: Search = "") -> Response:
    """Show who a company is; operators change it."""
    if empresa == 0:
        return await choose_company(request, PATH, q)
    return await _page(await frame_of(request, empresa))


@router.post(PATH)
async def change_company(request: Request, form: Annotated[IdentityForm, Form()]) -> Response:
    """Show what would change; once confirmed, change it."""
    frame = await posted_frame(request, form.empresa)
    # What the form does not show (a currency that is fixed) is not sent, and stays.
    entered: dict[str, str] = {name: getattr(form, name).strip() for name in FIELDS if name in form.model_fields_set}
    companies, company_id = frame.application.companies, frame.company.company_id
    try:
        if form.conferi == CONFIRMED:
            await companies.update(frame.caller, company_id, {**entered}, frame.now)
            return RedirectResponse(frame.url(PATH, feito="salvo"), 303)
        before, after = await companies.preview(frame.caller, company_id, {**entered}, frame.now)
    except InvalidInput as error:
        return await _page(frame, entered=entered, error=error)
    if before == after:
        return RedirectResponse(frame.url(PATH, feito="igual"), 303)
    had, has, words = identity_values(before), identity_values(after), _labels(frame.texts)
    changes = [(words[name], _shown(name, had[name]), _shown(name, has[name])) for name in FIELDS]
    _ = frame.texts.gettext
    sentences = []
    if before.timezone != after.timezone:
        day = frame.show.day_full(after.schedule.rows[-1][0])
        sentences.append(_("O novo fuso vale a partir de %(dia)s; os dias até lá não mudam.") % {"dia": day})
    step = Step(
        heading=_("Confirmar as alterações"), sentences=sentences, button=_("Salvar alterações"), action=PATH,
        back=frame.url(PATH), fields={"empresa": str(company_id)} | entered,
        changes=[change for change in changes if change[1] != change[2]],
    )  # fmt: skip
    return confirm_page(frame, step)


@router.post(PATH + "/situacao")
async def change_status(
    request: Request, empresa: CompanyChosen, situacao: FormText = "", conferi: FormText = ""
) -> Response:
    """Suspend a company or take it back, once confirmed."""
    frame = await posted_frame(request, empresa)
    frame.caller.require_operator()
    suspends = situacao == "suspender"
    if conferi == CONFIRMED:
        companies = frame.application.companies
        await (companies.suspend if suspends else companies.reactivate)(frame.caller, empresa)
        return RedirectResponse(frame.url(PATH, feito="suspensa" if suspends else "reativada"), 303)
    _, name = frame.texts.gettext, {"nome": frame.company.name}
    if suspends:
        heading, button = _("Suspender %(nome)s?") % name, _("Suspender empresa")
        sentences = [
            _("A partir de agora o robô ouve “não” quando pergunta se pode enviar mensagens por esta empresa."),
            _("O uso que acontecer continua sendo contado, e o painel continua aberto."),
        ]
    else:
        heading, button = _("Reativar %(nome)s?") % name, _("Reativar empresa")
        sentences = [_("O robô volta a poder enviar mensagens por esta empresa, dentro dos limites do plano.")]
    fields = {"empresa": str(empresa), "situacao": "suspender" if suspends else "reativar"}
    step = Step(
        heading, sentences, button, action=PATH + "/situacao", back=frame.url(PATH), fields=fields, is_danger=suspends
    )
    return confirm_page(frame, step)


async def _page(
    frame: Frame, *, entered: dict[str, str] | None = None, error: InvalidInput | None = None
) -> Response:
    company = frame.company
    values = identity_values(company)
    shown = {name: _shown(name, value, empty="") for name, value in values.items()}
    pending = company.schedule.rows[-1][0] > frame.show.local(frame.now).date() and len(company.schedule.rows) > 1
    context: dict[str, Any] = {
        "values": shown | (entered or {}),
        "labels": _labels(frame.texts),
        "is_suspended": company.status == SUSPENDED,
        "since": frame.show.day_full(frame.show.local(company.created_at).date()),
        "pending": frame.show.day_full(company.schedule.rows[-1][0]) if pending else "",
        "currency_fixed": await frame.application.analytics.has_usage(frame.caller, company.company_id),
        "currencies": [(code, code) for code in CURRENCIES],
        "zones": _zones(values["timezone"] or ""),
    }
    if error is not None:
        context |= {"problem": _problem(error, frame.texts), "problem_field": (error.pointer or "").strip("/")}
    return tab_page(frame, "settings_company.html", PATH, context, done=_done(frame.texts))


def _shown(name: str, value: str | None, empty: str = "—") -> str:
    if not value:
        return empty
    return shown_cnpj(value) if name == "tax_id" else value


def _zones(current: str) -> list[tuple[str, list[str]]]:
    others = sorted(name for name in available_timezones() if valid_timezone(name) and name not in BRAZIL_ZONES)
    extra = [] if current in others or current in BRAZIL_ZONES else [current]
    return [("Brasil", [*extra, *BRAZIL_ZONES]), ("", others)]


def _labels(sentences: Texts) -> dict[str, str]:
    _ = sentences.gettext
    return {
        "name": _("Nome"),
        "legal_name": _("Razão social"),
        "tax_id": _("CNPJ"),
        "timezone": _("Fuso horário"),
        "currency": _("Moeda"),
    }


def _done(sentences: Texts) -> dict[str, str]:
    _ = sentences.gettext
    return {
        "salvo": _("Alterações salvas."),
        "igual": _("Nada mudou: os dados já eram estes."),
        "suspensa": _("Empresa suspensa."),
        "reativada": _("Empresa reativada."),
    }


def _problem(error: InvalidInput, sentences: Texts) -> str:
    _ = sentences.gettext
    known = {
        "invalid_name": _("Informe um nome de até 200 caracteres, sem caracteres de controle."),
        "invalid_legal_name": _("A razão social tem até 200 caracteres, sem caracteres de controle."),
        "invalid_tax_id": _("Este CNPJ não confere: veja os dígitos."),
        "unknown_timezone": _("Escolha um fuso horário da lista."),
        "unknown_currency": _("A moeda é BRL ou USD."),
        "currency_fixed": _("A moeda não muda mais: a empresa já tem uso."),
        "currency_mismatch": _("A empresa tem um plano em outra moeda: troque o plano antes."),
        "timezone_change_pending": _("Já há uma troca de fuso marcada. Faça outra depois que ela valer."),
    }
    return known.get(error.code, _("Nada foi alterado."))
