"""A company's connection to Meta in words: how it stands and why, what a test answered, what a form got wrong."""

from collections.abc import Mapping, Sequence
from typing import Final

from secretaria.core.errors import InvalidInput
from secretaria.services.integrations import Shown
from secretaria.services.meta import Check
from secretaria.store.integrations import Part, PartState, State
from secretaria.web.panel.format import NBSP, Format
from secretaria.web.panel.i18n import Texts

CONNECTED: Final = "ok"
RECONNECT: Final = "crit"
NOT_CONNECTED: Final = ""


def status(shown: Shown | None, show: Format, texts: Texts) -> dict[str, object]:
    """Return {kind, word, reason, parts}: connected, to be connected anew, or not connected."""
    words = {
        CONNECTED: f"●{NBSP}" + texts.gettext("Conectada"),
        RECONNECT: f"✕{NBSP}" + texts.gettext("Reconectar"),
        NOT_CONNECTED: f"◌{NBSP}" + texts.gettext("Sem conexão"),
    }
    kind, reason = _judged(shown, texts)
    parts = [] if shown is None else [_part_sentence(part, show, texts) for part in shown.parts]
    return {"kind": kind, "word": words[kind], "reason": reason, "parts": parts}


def _judged(shown: Shown | None, texts: Texts) -> tuple[str, str]:
    _ = texts.gettext
    if shown is None:
        return NOT_CONNECTED, _("Nada foi salvo ainda. Os custos seguem estimados pela tabela de preços.")
    if shown.unreadable:
        return RECONNECT, _("A chave do servidor mudou: digite de novo os segredos salvos.")
    if not shown.parts:
        return NOT_CONNECTED, _("Informe o token de acesso e o ID do WABA ou da conta de anúncios.")
    states = {part.state for part in shown.parts}
    if State.RECONNECT in states:
        return RECONNECT, _("A Meta não aceita mais o token. Salve um token novo; seguimos com a estimativa.")
    if any(part.succeeded_at for part in shown.parts):
        return CONNECTED, ""
    if states & {State.REFUSED, State.BACKING_OFF}:
        return NOT_CONNECTED, _("A Meta ainda não respondeu com dados. Seguimos com a estimativa.")
    return NOT_CONNECTED, _("Salva; aguardando a primeira leitura da Meta.")


def part_name(part: Part, texts: Texts) -> str:
    """Return what a part of the connection reads."""
    return {
        Part.MESSAGES: texts.gettext("Custo das mensagens"),
        Part.ADS: texts.gettext("Gasto com anúncios"),
        Part.PROFILE: texts.gettext("Perfil e qualidade"),
    }[part]


def _part_sentence(part: PartState, show: Format, texts: Texts) -> dict[str, str]:
    told = "" if part.meta_code is None else " " + texts.gettext("(código %(codigo)s da Meta)") % {
        "codigo": part.meta_code
    }  # fmt: skip
    again = part.next_attempt_at
    sentences = {
        State.WAITING: texts.gettext("aguardando a primeira leitura"),
        State.OK: texts.gettext("em dia"),
        State.BACKING_OFF: texts.gettext("a Meta limitou as consultas") + told,
        State.REFUSED: texts.gettext("a Meta recusou; confira as permissões do token") + told,
        State.RECONNECT: texts.gettext("o token não vale mais") + told,
    }
    said = [sentences[part.state]]
    if part.succeeded_at is not None:
        said.append(texts.gettext("última leitura em %(momento)s") % {"momento": show.moment(part.succeeded_at)})
    if again is not None and part.state in {State.BACKING_OFF, State.REFUSED}:
        said.append(texts.gettext("nova tentativa às %(hora)s") % {"hora": show.clock(again)})
    return {"name": part_name(part.part, texts), "text": " · ".join(said)}


def tested(checks: Sequence[Check], texts: Texts) -> list[dict[str, str]]:
    """Return what each part of a test answered."""
    words: Mapping[str, tuple[str, str]] = {
        "ok": ("ok", f"✓{NBSP}" + texts.gettext("respondeu")),
        "not_configured": ("", f"–{NBSP}" + texts.gettext("faltam dados")),
        "back_off": ("warn", f"▲{NBSP}" + texts.gettext("não respondeu agora; tente mais tarde")),
        "refused": ("crit", f"✕{NBSP}" + texts.gettext("recusou; confira as permissões do token")),
        "reconnect": ("crit", f"✕{NBSP}" + texts.gettext("não aceita o token")),
    }
    found = []
    for check in checks:
        kind, word = words.get(check.outcome, words["back_off"])
        told = texts.gettext("(código %(codigo)s da Meta)") % {"codigo": check.meta_code}
        found.append(
            {"name": part_name(check.part, texts), "kind": kind, "word": word, "code": told if check.meta_code else ""}
        )
    return found


def problem_of(error: InvalidInput, texts: Texts) -> tuple[str, str]:
    """Return the field a refused form is about, and what to do; what was entered is never repeated."""
    field = (error.pointer or "").strip("/")
    sentences = {
        "invalid_ad_account_id": texts.gettext("A conta de anúncios é act_ seguido de números, como act_1234567890."),
        "invalid_meta_id": texts.gettext("Os IDs da Meta têm só números."),
        "invalid_secret": texts.gettext("Cole o valor inteiro, sem espaços nem quebras de linha."),
    }
    return field, sentences.get(error.code, texts.gettext("Nada foi alterado."))
