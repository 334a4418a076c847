"""The words of deliveries: events, states and failures as people read them, in the log and in the settings."""

from typing import Final
from urllib.parse import urlsplit

from secretaria.core.delivery import TEST_PING, Channel, DeliveryStatus, DisabledReason, EventType
from secretaria.store.delivery_log import LogFilter, LogLine
from secretaria.web.panel.i18n import Texts

SHOWN_PATH_CHARS_MAX: Final = 48

RESULTS: Final = {
    "na-fila": LogFilter(status=DeliveryStatus.WAITING, has_tried=False),
    "tentando": LogFilter(status=DeliveryStatus.WAITING, has_tried=True),
    "entregue": LogFilter(status=DeliveryStatus.DELIVERED),
    "falhou": LogFilter(status=DeliveryStatus.DEAD),
    "cancelada": LogFilter(status=DeliveryStatus.CANCELLED),
}


def event_text(event_type: str, sentences: Texts) -> str:
    """Return what an event is called; one nobody knows by its own name."""
    _ = sentences.gettext
    known = {
        EventType.LIMIT_WARNING.value: _("Aviso de limite"),
        EventType.LIMIT_CRITICAL.value: _("Limite atingido (crítico)"),
        EventType.LIMIT_RESOLVED.value: _("Alerta de limite resolvido"),
        EventType.NOT_PRICED.value: _("Uso sem preço"),
        EventType.NOT_PRICED_RESOLVED.value: _("Uso sem preço resolvido"),
        EventType.ENDPOINT_DISABLED.value: _("Destino desativado"),
        EventType.WEEKLY_REPORT.value: _("Relatório semanal"),
        EventType.MONTHLY_REPORT.value: _("Relatório mensal"),
        TEST_PING: _("Teste"),
    }
    return known.get(event_type, event_type)


def results(sentences: Texts) -> dict[str, str]:
    """Return the states a delivery can be in, by the words the address bar has for them."""
    _ = sentences.gettext
    return {
        "na-fila": _("Na fila"),
        "tentando": _("Tentando de novo"),
        "entregue": _("Entregue"),
        "falhou": _("Falhou"),
        "cancelada": _("Cancelada"),
    }


def result_of(line: LogLine) -> str:
    """Return a line's state as one of RESULTS."""
    if line.status is DeliveryStatus.WAITING:
        return "tentando" if line.has_tried else "na-fila"
    names = {DeliveryStatus.DELIVERED: "entregue", DeliveryStatus.DEAD: "falhou"}
    return names.get(line.status, "cancelada")


def result_badge(line: LogLine, sentences: Texts) -> tuple[str, str]:
    """Return a line's state with its icon, and the kind of badge."""
    marks = {
        "na-fila": ("○", "info"), "tentando": ("↻", "warn"), "entregue": ("✓", "ok"), "falhou": ("✕", "crit"),
        "cancelada": ("–", ""),
    }  # fmt: skip
    result = result_of(line)
    icon, kind = marks[result]
    return f"{icon} {results(sentences)[result]}", kind


def answer_text(status_code: int | None, error: str | None, sentences: Texts) -> str:
    """Return what an attempt met: the HTTP (or SMTP) code, or why there is none."""
    if error is None:
        return "—" if status_code is None else str(status_code)
    reason = failure_text(error, sentences)
    if status_code is None:
        return reason
    return str(status_code) if error == "refused" else f"{status_code} · {reason}"


def failure_text(error: str, sentences: Texts) -> str:
    """Return why an attempt had no answer to go by."""
    _ = sentences.gettext
    known = {
        "url_not_allowed": _("endereço não permitido"),
        "address_not_allowed": _("leva a um endereço privado"),
        "dns_failed": _("nome sem endereço (DNS)"),
        "refused": _("conexão recusada"),
        "unreachable": _("fora de alcance"),
        "tls_failed": _("TLS falhou"),
        "connection_lost": _("conexão caiu"),
        "timeout": _("sem resposta a tempo"),
        "broken_answer": _("resposta inválida"),
        "redirect_refused": _("redirecionamento recusado"),
        "no_such_mail": _("não há o que enviar"),
        "mail_not_set_up": _("e-mail não configurado"),
        "secret_unreadable": _("segredo ilegível"),
        "internal": _("erro do nosso lado"),
        "invalid_address": _("endereço inválido"),
        "login_refused": _("servidor de e-mail recusou o login"),
        "connection_failed": _("servidor de e-mail fora de alcance"),
        "server_unsuitable": _("servidor de e-mail sem TLS ou login"),
    }
    return known.get(error, error)


def disabled_text(reason: DisabledReason | None, sentences: Texts) -> str:
    """Return why an endpoint is sent nothing."""
    _ = sentences.gettext
    known = {
        DisabledReason.GONE: _("O destino respondeu 410: pediu para não receber mais nada."),
        DisabledReason.FAILING: _("O destino só falhou por 5 dias."),
        DisabledReason.UNSET: _("BILLING_ALERT_WEBHOOK_URL não está mais nas configurações do servidor."),
    }
    return known.get(reason, "") if reason else ""


def place_text(channel: Channel, address: str) -> str:
    """Return where something goes: an e-mail address, or a URL's host and path; its query may be a key."""
    if channel is Channel.MAIL:
        return address
    parts = urlsplit(address)
    path = parts.path if len(parts.path) <= SHOWN_PATH_CHARS_MAX else parts.path[: SHOWN_PATH_CHARS_MAX - 1] + "…"
    return f"{parts.netloc}{'' if path == '/' else path}"
