"""The words of endpoints in the settings: how each one does, what changes of it, what is wrong with a form."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from secretaria.core.delivery import DEFAULT_EVENTS, EVENTS, Channel, DisabledReason, EndpointStatus
from secretaria.core.errors import InvalidInput
from secretaria.services.deliveries import shown_address
from secretaria.services.endpoints import DESCRIPTION_CHARS_MAX, ENDPOINTS_A_CHANNEL_MAX
from secretaria.store.delivery_endpoints import Endpoint
from secretaria.store.delivery_log import EndpointFigures
from secretaria.web.panel.delivery_words import disabled_text, event_text, place_text
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import LOCALE_NAMES, Texts

_FIELDS: Final[Mapping[str, str]] = {
    "url_not_allowed": "endereco",
    "invalid_email": "endereco",
    "too_long": "descricao",
    "unknown_event": "eventos",
    "unknown_locale": "idioma",
}


def shown_endpoint(of: Endpoint, figures: EndpointFigures, show: Format, sentences: Texts) -> dict[str, Any]:
    """Return what is shown of an endpoint."""
    _ = sentences.gettext
    is_active = of.status is EndpointStatus.ACTIVE
    word, kind = _state(of, sentences)
    return {
        "id": of.endpoint_id,
        "place": place_text(of.channel, of.address),
        "description": "" if of.from_settings else of.description,
        "channel": _("E-mail") if of.channel is Channel.MAIL else "Webhook",
        "is_webhook": of.channel is Channel.WEBHOOK,
        "from_settings": of.from_settings,
        "is_active": is_active,
        "may_enable": not is_active and of.disabled_reason is not DisabledReason.UNSET,
        "reason": disabled_text(of.disabled_reason, sentences) if not is_active else "",
        "disabled": show.moment(of.disabled_at) if of.disabled_at and not is_active else "",
        "state": word,
        "kind": kind,
        "events": events_text(of.events, sentences),
        "language": LOCALE_NAMES.get(of.locale, of.locale) if of.channel is Channel.MAIL else "",
        "succeeded": show.moment(of.succeeded_at) if of.succeeded_at else _("nunca"),
        "failing": show.moment(of.failing_since) if of.failing_since else "",
        "held": show.moment(of.held_until) if of.held_until else "",
        "rate": _rate(figures, show, sentences),
        "waiting": show.number(figures.waiting) if figures.waiting else "",
    }


def _state(of: Endpoint, sentences: Texts) -> tuple[str, str]:
    _ = sentences.gettext
    if of.status is EndpointStatus.DISABLED:
        return "‖ " + _("Fila pausada"), "crit"
    if of.failing_since is not None:
        return "▲ " + _("Falhando"), "warn"
    return ("✓ " + _("Funcionando"), "ok") if of.succeeded_at else ("○ " + _("Ainda sem entregas"), "")


def _rate(figures: EndpointFigures, show: Format, sentences: Texts) -> str:
    """Return which share of the attempts of the last 24 hours succeeded; without any there is no share."""
    if not figures.attempts:
        return sentences.gettext("nenhuma tentativa")
    share = show.number(figures.succeeded * 100 // figures.attempts)
    sentence = sentences.ngettext(
        "%(parte)s%% de %(quantidade)s tentativa", "%(parte)s%% de %(quantidade)s tentativas", figures.attempts
    )
    return sentence % {"parte": share, "quantidade": show.number(figures.attempts)}


def events_text(events: Collection[str], sentences: Texts) -> str:
    """Return what an endpoint wants, in the order all lists have."""
    return ", ".join(event_text(of, sentences) for of in EVENTS[Channel.MAIL] if of.value in events)


def event_choices(channel: Channel, chosen: Collection[str] | None, sentences: Texts) -> list[tuple[str, str, bool]]:
    """Return (value, words, checked) of what a channel may want; chosen None: what it begins with."""
    checked = DEFAULT_EVENTS[channel] if chosen is None else chosen
    return [(of.value, event_text(of, sentences), of.value in checked) for of in EVENTS[channel]]


def changes_of(before: Endpoint, after: Endpoint, sentences: Texts) -> list[tuple[str, str, str]]:
    """Return (what, before, after) of everything that would change."""
    _ = sentences.gettext
    rows = [
        (_("Endereço"), shown_address(before.address), shown_address(after.address)),
        (_("Descrição"), before.description or "—", after.description or "—"),
        (_("Recebe"), events_text(before.events, sentences), events_text(after.events, sentences)),
        (_("Idioma"), LOCALE_NAMES.get(before.locale, before.locale), LOCALE_NAMES.get(after.locale, after.locale)),
    ]
    if before.address != after.address and rows[0][1] == rows[0][2]:
        rows[0] = (rows[0][0], rows[0][1], rows[0][2] + " · " + _("outros parâmetros"))
    return [row for row in rows if row[1] != row[2]]


def problem_field(error: InvalidInput) -> str:
    """Return the field a problem stands under, or nothing."""
    return _FIELDS.get(error.code, "")


def problem_text(error: InvalidInput, sentences: Texts) -> str:
    """Return what is wrong, and what to do about it."""
    _ = sentences.gettext
    known = {
        "url_not_allowed": _("O endereço precisa começar com https:// e ser público."),
        "invalid_email": _("Informe um e-mail, como ana@exemplo.com.br."),
        "too_long": _("A descrição tem até %(quantidade)s caracteres.") % {"quantidade": DESCRIPTION_CHARS_MAX},
        "unknown_event": _("Marque ao menos um evento."),
        "unknown_locale": _("Escolha o idioma."),
        "too_many_endpoints": _("Já há %(quantidade)s destinos deste tipo. Remova um antes.")
        % {"quantidade": ENDPOINTS_A_CHANNEL_MAX},
        "endpoint_disabled": _("A fila deste destino está pausada. Reative-a antes."),
        "endpoint_from_settings": _("Este destino vem de BILLING_ALERT_WEBHOOK_URL: altere lá."),
        "no_secret": _("Um e-mail não tem segredo."),
    }
    return known.get(error.code, _("Nada foi alterado."))
