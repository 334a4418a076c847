"""The audit log's words for people: actions and fields in the reader's language; unknown ones as they are stored."""

import contextlib
import re
from datetime import date
from decimal import Decimal
from typing import Any, Final

from secretaria.core.price import default_whatsapp_prices
from secretaria.core.rate_card import PRODUCT_CARD
from secretaria.core.tax_id import shown_cnpj
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts

VALUE_CHARS_MAX: Final = 200
UNKNOWN: Final = "—"
PRODUCT_SOURCE: Final = default_whatsapp_prices()[0][-1]
# As services/prices.py writes the prices and rates that a company began with.
_PRICE: Final = re.compile(r"(messages|tokens) (\d[\d.]*) ([A-Z]{3}) per (\d+) from (\d{4}-\d\d-\d\d) \((.*)\)")
_RATE: Final = re.compile(r"(1 [A-Z]{3}) = (\d[\d.]*) ([A-Z]{3}) from (\d{4}-\d\d-\d\d) \((.*)\)")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def action_text(action: str, sentences: Texts) -> str:
    """Return what was done, as a few words."""
    _ = sentences.gettext
    known = {
        "company.created": _("Empresa cadastrada"),
        "company.changed": _("Dados da empresa alterados"),
        "company.suspended": _("Empresa suspensa"),
        "company.reactivated": _("Empresa reativada"),
        "timezone.set": _("Fuso horário alterado"),
        "api_key.created": _("Chave de API criada"),
        "api_key.revoked": _("Chave de API revogada"),
        "user.created": _("Usuário criado"),
        "user.disabled": _("Acesso de usuário desativado"),
        "user.password_changed": _("Senha de usuário trocada"),
        "session.opened": _("Sessão aberta"),
        "session.ended": _("Sessão encerrada"),
        "account.created": _("Conta WhatsApp cadastrada"),
        "template.created": _("Modelo de mensagem cadastrado"),
        "messages.erased": _("Mensagens apagadas"),
        "integration.created": _("Conexão com a Meta criada"),
        "integration.changed": _("Conexão com a Meta alterada"),
        "integration.removed": _("Conexão com a Meta removida"),
        "integration.tested": _("Conexão com a Meta testada"),
        "prices.set": _("Preços das configurações aplicados"),
        "rates.published": _("Câmbio publicado aplicado"),
        "rate_card.imported": _("Tabela de preços importada"),
        "rate_card.activated": _("Tabela de preços escolhida"),
    }
    known |= {
        "plan.created": _("Plano criado"),
        "plan.changed": _("Limites do plano alterados"),
        "company_plan.set": _("Plano da empresa escolhido"),
        "alert.acknowledged": _("Alerta reconhecido"),
        "endpoint.created": _("Destino de alertas criado"),
        "endpoint.changed": _("Destino de alertas alterado"),
        "endpoint.removed": _("Destino de alertas removido"),
        "endpoint.enabled": _("Destino de alertas reativado"),
        "endpoint.disabled": _("Destino de alertas desativado"),
        "endpoint.tested": _("Destino de alertas testado"),
        "endpoint.secret_rotated": _("Segredo do destino trocado"),
        "endpoint.redelivered": _("Entregas reenviadas"),
        "delivery.redelivered": _("Entrega reenviada"),
    }
    return known.get(action, action)


def field_text(name: str, sentences: Texts) -> str:
    """Return what a field is called on the pages that change it."""
    _ = sentences.gettext
    known = {
        "name": _("Nome"),
        "legal_name": _("Razão social"),
        "tax_id": _("CNPJ"),
        "timezone": _("Fuso horário"),
        "currency": _("Moeda"),
        "status": _("Situação"),
        "demo": _("Demonstração"),
        "scopes": _("Permissões"),
        "role": _("Papel"),
        "locale": _("Idioma"),
        "disabled": _("Desativado"),
        "sessions_ended": _("Sessões encerradas"),
        "network": _("Endereço de rede"),
        "prices": _("Preços"),
        "rates": _("Câmbio"),
        "card": _("Tabela"),
        "source": _("Fonte"),
        "effective_from": _("Vigente desde"),
        "unit_price_rounding": _("Arredondamento do preço unitário"),
        "plan": _("Plano"),
        "messages": _("Mensagens"),
        "tokens": _("Tokens"),
        "cost": _("Custo"),
        "thresholds": _("Níveis de alerta"),
        "hard": _("Limite rígido"),
        "category": _("Categoria"),
        "events": _("Eventos"),
        "address": _("Endereço"),
        "phone_number_id": "Phone number ID",
        "waba_id": _("ID do WABA"),
        "ad_account_id": _("Ad Account ID"),
        "business_id": _("Business ID"),
        "access_token": _("Token de acesso"),
        "app_secret": _("App secret"),
        "verify_token": _("Verify token"),
        "today_source": _("Custo de hoje"),
        "total_source": _("Total do dia"),
        "by": _("Por"),
    }
    return known.get(name, name)


def value_text(name: str, value: Any, sentences: Texts) -> str:
    """Return a field's stored value as people read it, cut where it grows long."""
    _ = sentences.gettext
    if isinstance(value, str) and (name, value) in (known := _values(sentences)):
        return known[name, value]
    if name == "tax_id" and isinstance(value, str):
        return shown_cnpj(value)
    if value is None or value in ("", []):
        return UNKNOWN
    if isinstance(value, bool):
        return _("sim") if value else _("não")
    if isinstance(value, list):
        return _cut("; ".join(value_text(name, item, sentences) for item in value))
    if isinstance(value, dict):
        return _cut("; ".join(f"{part}: {value_text(part, item, sentences)}" for part, item in value.items()))
    return _cut(_figure_text(str(value), sentences))


def _figure_text(text: str, sentences: Texts) -> str:
    """Return a price, a rate or a day in the reader's words and numbers; anything else as it is."""
    _, show = sentences.gettext, Format(sentences.locale)
    if price := _PRICE.fullmatch(text):
        metric, amount, currency, per, day, source = price.groups()
        words = f"{_('Mensagens') if metric == 'messages' else _('Tokens')}: {{}} / {show.count(int(per))}"
    elif rate := _RATE.fullmatch(text):
        base, amount, currency, day, source = rate.groups()
        words = f"{base} = {{}}"
    elif _DAY.fullmatch(text):
        with contextlib.suppress(ValueError):  # what only looks like a day stays
            return show.day_full(date.fromisoformat(text))
        return text
    else:
        return text
    if source == PRODUCT_SOURCE:
        source = _("documento do produto")
    since = _("desde %(dia)s") % {"dia": show.day_full(date.fromisoformat(day))}
    return f"{words.format(show.exact(Decimal(amount), currency))} {since} ({source})"


def _values(sentences: Texts) -> dict[tuple[str, str], str]:
    _ = sentences.gettext
    words = {
        ("status", "active"): _("Ativa"),
        ("status", "suspended"): _("Suspensa"),
        ("role", "member"): _("Cliente"),
        ("role", "operator"): _("Operador"),
        ("today_source", "estimated"): _("Nossa estimativa"),
        ("today_source", "meta"): _("O que a Meta informar"),
        ("total_source", "messages"): _("Custo das mensagens"),
        ("total_source", "ads"): _("Gasto com anúncios"),
        ("card", PRODUCT_CARD): _("Tabela do produto"),
    }
    for name in ("access_token", "app_secret", "verify_token"):
        words |= {(name, "set"): _("informado"), (name, "replaced"): _("trocado")}
    return words


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"
