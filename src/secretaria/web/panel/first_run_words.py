"""The first steps in words: the card, its page and their live updates say the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from secretaria.store.first_run import FirstSteps
from secretaria.web.panel.figures import View
from secretaria.web.panel.i18n import Texts

STEPS: Final = ("dados", "plano", "chave", "evento", "precos", "webhook")
DONE, WAITING = "✓", "○"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the card: id of its elements, its name, where its action leads and what the action is called."""

    id: str
    name: str
    url: str
    action: str


@dataclass(frozen=True, slots=True)
class FirstRun:
    """The card of a company: strings and marks by id, and what the template loops over."""

    company_id: int
    steps: Sequence[Step]
    view: View
    curl: str
    is_begun: bool


def card(found: FirstSteps, company_id: int, texts: Texts, *, is_operator: bool, public_url: str) -> FirstRun:
    """Return the card; a member has no action where only the operator may act."""
    _, of = texts.gettext, f"?empresa={company_id}"
    actions = {
        "dados": (_("Dados da empresa e fuso"), f"/configuracoes/empresa{of}", _("Completar"), is_operator),
        "plano": (_("Plano e limites"), f"/configuracoes/plano{of}", _("Escolher plano"), is_operator),
        "chave": (_("Chave de API"), f"/configuracoes/chaves{of}", _("Criar chave"), True),
        "evento": (_("Primeiro evento"), f"/empresas/{company_id}/primeiros-passos#exemplo", _("Ver exemplo"), True),
        "precos": (_("Tabela de preços"), f"/configuracoes{of}", _("Definir preços"), is_operator),
        "webhook": (_("Webhook de alertas"), f"/configuracoes/webhooks{of}", _("Adicionar"), True),
    }
    steps = [Step(f"passo-{name}", label, url if allowed else "", action)
             for name, (label, url, action, allowed) in actions.items()]  # fmt: skip
    return FirstRun(company_id, steps, steps_view(found, texts), curl(public_url, company_id), found.event)


def steps_view(found: FirstSteps, texts: Texts) -> View:
    """Return the strings and marks of the steps, each with its word: neither icon nor colour says it alone."""
    _, view = texts.gettext, View()
    home = {"fuso": found.timezone, "moeda": found.currency}
    said = {
        "dados": (
            _("Fuso %(fuso)s, moeda %(moeda)s.") % home,
            _("Fuso %(fuso)s, moeda %(moeda)s. Falta a razão social ou o CNPJ, que saem nos relatórios.") % home,
        ),
        "plano": (_("Os limites deste mês são acompanhados."), _("Sem plano, nenhum limite é acompanhado.")),
        "chave": (_("Há uma chave ativa."), _("O robô envia o uso com ela.")),
        "evento": (_("Recebido."), _("Aguardando. Nenhum evento ainda.")),
        "precos": (_("O uso tem preço."), _("Sem ela, o custo aparece como “sem preço”.")),
        "webhook": (_("Um destino confirmou que recebe."), _("Envie um teste e confirme a resposta 200.")),
    }
    for name, is_done in zip(STEPS, found.done, strict=True):
        view.texts[f"passo-{name}-icone"] = DONE if is_done else WAITING
        view.texts[f"passo-{name}-palavra"] = _("pronto") if is_done else _("falta")
        view.texts[f"passo-{name}-estado"] = said[name][0 if is_done else 1]
        view.marks[f"passo-{name}"] = {"data-kind": "done" if is_done else "waiting"}
    counts = {"prontos": sum(found.done), "total": len(STEPS)}
    view.texts["passos-prontos"] = _("%(prontos)s de %(total)s prontos") % counts
    return view


def curl(public_url: str, company_id: int) -> str:
    """Return a command that sends a first event once the key stands in it."""
    data = '"data":{"direction":"outbound","messages":1,"tokens_input":120,"tokens_output":80,"response_ms":850}'
    return (
        f"export SECRETARIA_KEY=$(secretaria api-key create --company {company_id})\n\n"
        f"curl {public_url}/api/usage \\\n"
        '  -H "Authorization: Bearer $SECRETARIA_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        '  -d \'{"specversion":"1.0","id":"teste-1","source":"meu-bot","type":"usage.recorded",\n'
        f"       {data}}}'"
    )
