"""The words of documents, in both languages. Figures and dates come from format.py."""

from typing import Final

LOCALES: Final = ("pt-BR", "en")
UNFINISHED_MARK: Final = "*"

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "monthly report": ("Relatório mensal", "Monthly report"),
    "weekly report": ("Relatório semanal", "Weekly report"),
    "usage report": ("Relatório de uso", "Usage report"),
    "from to": ("{start} a {end}", "{start} to {end}"),
    "tax id": ("CNPJ {tax_id}", "Tax id {tax_id}"),
    "days by": ("Dias no fuso {zone}", "Days in the zone {zone}"),
    "figures as of": ("Números de {moment}", "Figures as of {moment}"),
    "revision": ("revisão {number}", "revision {number}"),
    "partial": ("Parcial", "Partial"),
    "partial running": (
        "O período ainda não terminou: os números podem crescer.",
        "The period has not ended yet: the figures may grow.",
    ),
    "partial not priced": (
        "{what} sem preço. O custo é pelo menos o mostrado.",
        "{what} not priced. The cost is at least the one shown.",
    ),
    "message": ("{n} mensagem", "{n} message"),
    "messages n": ("{n} mensagens", "{n} messages"),
    "token": ("{n} token", "{n} token"),
    "tokens n": ("{n} tokens", "{n} tokens"),
    "and": (" e ", " and "),
    "summary": ("Resumo", "Summary"),
    "cost": ("Custo estimado", "Estimated cost"),
    "messages": ("Mensagens", "Messages"),
    "tokens": ("Tokens", "Tokens"),
    "response": ("Tempo médio de resposta", "Mean response time"),
    "received": ("Recebidas", "Received"),
    "sent": ("Enviadas", "Sent"),
    "tokens in": ("Tokens de entrada", "Input tokens"),
    "tokens out": ("Tokens de saída", "Output tokens"),
    "input": ("Entrada", "Input"),
    "output": ("Saída", "Output"),
    "in and out messages": ("{a} recebidas · {b} enviadas", "{a} received · {b} sent"),
    "in and out tokens": ("{a} de entrada · {b} de saída", "{a} input · {b} output"),
    "of answers": ("de {n} respostas medidas", "of {n} measured answers"),
    "of answer": ("de 1 resposta medida", "of 1 measured answer"),
    "no answers": ("nenhuma resposta medida", "no answer was measured"),
    "cost a day": ("média de {amount} por dia completo", "{amount} per complete day on average"),
    "cost lacks": ("sem contar {what} sem preço", "not counting {what} not priced"),
    "plan": ("Uso do plano {name}", "Use of the plan {name}"),
    "of limit": ("{used} de {limit} · {percent}", "{used} of {limit} · {percent}"),
    "normal": ("Normal", "Normal"),
    "warning": ("Aviso", "Warning"),
    "critical": ("Crítico", "Critical"),
    "cost by day": ("Custo por dia", "Cost per day"),
    "messages by day": ("Mensagens por dia", "Messages per day"),
    "tokens by day": ("Tokens por dia", "Tokens per day"),
    "response by day": ("Tempo médio de resposta por dia", "Mean response time per day"),
    "cost by week": ("Custo por semana", "Cost per week"),
    "messages by week": ("Mensagens por semana", "Messages per week"),
    "tokens by week": ("Tokens por semana", "Tokens per week"),
    "response by week": ("Tempo de resposta por semana", "Response time per week"),
    "hatched": ("Hachurado ou vazado: ainda em curso", "Hatched or hollow: still running"),
    "gap messages": ("{n} mens.", "{n} msgs"),
    "gap tokens": ("{n} tok.", "{n} tok."),
    "chart alt": (
        "Gráfico, {start} a {end}: {title}. Total ou média {total}; maior valor {largest}. Valores na tabela.",
        "Chart, {start} to {end}: {title}. Total or mean {total}; largest value {largest}. Values in the table.",
    ),
    "day by day": ("Dia a dia", "Day by day"),
    "month by month": ("Mês a mês", "Month by month"),
    "day": ("Dia", "Day"),
    "month": ("Mês", "Month"),
    "total": ("Total", "Total"),
    "not priced": ("Sem preço", "Not priced"),
    "unfinished note": ("* dia que ainda não terminou", "* a day that has not ended yet"),
    "month parts note": (
        "Há dias demais para uma tabela: o CSV e o XLSX do mesmo período têm cada um deles.",
        "There are too many days for a table: the CSV and XLSX of the same period hold each of them.",
    ),
    "by category": ("Por categoria", "By category"),
    "by account": ("Por conta", "By account"),
    "by model": ("Por modelo", "By model"),
    "by direction": ("Por direção", "By direction"),
    "by cost_center": ("Por centro de custo", "By cost centre"),
    "no category": ("Sem categoria", "No category"),
    "no account": ("Sem conta", "No account"),
    "no model": ("Sem modelo", "No model"),
    "no direction": ("Sem direção", "No direction"),
    "no cost_center": ("Sem centro de custo", "Unassigned"),
    "category": ("Categoria", "Category"),
    "account": ("Conta", "Account"),
    "model": ("Modelo", "Model"),
    "direction": ("Direção", "Direction"),
    "cost_center": ("Centro de custo", "Cost centre"),
    "MARKETING": ("Marketing", "Marketing"),
    "UTILITY": ("Utilidade", "Utility"),
    "AUTHENTICATION": ("Autenticação", "Authentication"),
    "SERVICE": ("Serviço", "Service"),
    "OTHER": ("Outra", "Other"),
    "inbound": ("Recebidas", "Received"),
    "outbound": ("Enviadas", "Sent"),
    "others": ("Outros ({n})", "Others ({n})"),
    "others note": (
        "Só os {n} maiores estão aqui; o XLSX do mesmo período tem todos.",
        "Only the {n} largest are here; the XLSX of the same period has all of them.",
    ),
    "share": ("% do custo", "% of cost"),
    "alerts": ("Alertas", "Alerts"),
    "no alerts": ("Nenhum alerta neste período.", "No alerts in this period."),
    "when": ("Quando", "When"),
    "what": ("O quê", "What"),
    "level": ("Nível", "Level"),
    "used": ("Usado", "Used"),
    "limit": ("Limite", "Limit"),
    "limit crossed": ("{metric}: {threshold}% do limite", "{metric}: {threshold}% of the limit"),
    "not priced alert": ("{metric} sem preço", "{metric} not priced"),
    "resolved": ("Resolvido em {moment}", "Resolved on {moment}"),
    "open": ("Aberto", "Open"),
    "state": ("Situação", "State"),
    "prices": ("Preços usados", "Prices used"),
    "no prices": ("Nada foi cobrado neste período.", "Nothing was charged in this period."),
    "item": ("Item", "Item"),
    "quantity": ("Quantidade", "Quantity"),
    "unit price": ("Preço unitário", "Unit price"),
    "since": ("Desde", "Since"),
    "source": ("Fonte", "Source"),
    "rate": ("Câmbio", "Rate"),
    "amount": ("Valor", "Amount"),
    "per thousand": ("{amount} por mil", "{amount} per thousand"),
    "always": ("o início", "the start"),
    "rates": ("Câmbio usado", "Exchange rates used"),
    "pair": ("Par", "Pair"),
    "stale": ("usado além do prazo: nada mais novo foi publicado", "used past its time: nothing newer was published"),
    "how": ("Como calculamos", "How we calculate"),
    "how text": (
        (
            "Cada mensagem e cada token é contado uma vez, no dia do fuso da empresa. O custo é quantidade × "
            "preço unitário × câmbio do dia, exato; só o que se mostra é arredondado, e as partes mostradas somam"
            " o total mostrado. Uso sem preço conhecido é contado à parte e nunca vale zero. São valores "
            "estimados, não uma fatura."
        ),
        (
            "Every message and every token is counted once, on the day of the company's time zone. The cost is "
            "quantity × unit price × the day's exchange rate, exact; only what is shown is rounded, and the parts"
            " shown add up to the total shown. Use without a known price is counted apart and is never zero. "
            "These are estimates, not an invoice."
        ),
    ),
    "verification": ("Conferência", "Verification"),
    "verification text": (
        (
            "Este código é um resumo criptográfico de todos os números deste relatório. No endereço abaixo "
            "qualquer pessoa vê se ele existe e a que período se refere; nenhum valor é mostrado."
        ),
        (
            "This code is a cryptographic digest of all figures in this report. At the address below anyone can "
            "see whether it exists and which period it belongs to; no amounts are shown."
        ),
    ),
    "code": ("Código", "Code"),
    "page": ("Página", "Page"),
    "of": ("de", "of"),
    "daily": ("Diário", "Daily"),
    "breakdowns": ("Detalhamento", "Breakdowns"),
    "company": ("Empresa", "Company"),
    "companies": ("Empresas", "Companies"),
    "company id": ("Id da empresa", "Company id"),
    "legal name": ("Razão social", "Legal name"),
    "tax id name": ("CNPJ", "Tax id"),
    "period": ("Período", "Period"),
    "zone": ("Fuso", "Time zone"),
    "currency": ("Moeda", "Currency"),
    "as of": ("Números de", "Figures as of"),
    "response ms": ("Tempo médio de resposta (ms)", "Mean response time (ms)"),
    "not priced messages": ("Mensagens sem preço", "Messages not priced"),
    "not priced tokens": ("Tokens sem preço", "Tokens not priced"),
    "unfinished": ("Em curso", "Unfinished"),
    "yes": ("sim", "yes"),
    "dimension": ("Dimensão", "Dimension"),
    "key": ("Chave", "Key"),
    "name": ("Nome", "Name"),
    "metric": ("Medida", "Metric"),
    "market": ("Mercado", "Market"),
    "per": ("Por", "Per"),
    "price currency": ("Moeda do preço", "Price currency"),
}

_SOURCES: Final[dict[str, tuple[str, str]]] = {
    "settings": ("configuração", "settings"),
    "BILLING_COST_PER_MESSAGE": ("configuração do painel", "panel settings"),
    "BILLING_COST_PER_THOUSAND_TOKENS": ("configuração do painel", "panel settings"),
    "USD_TO_BRL": ("configuração do painel", "panel settings"),
    "product document": ("documento do produto", "product document"),
    "Meta's pricing.type": ("tipo de preço da Meta", "Meta's pricing type"),
}


class Labels:
    """The words of one language."""

    __slots__ = ("_place",)

    def __init__(self, locale: str) -> None:
        self._place = LOCALES.index(locale)

    def __call__(self, name: str, /, **values: object) -> str:
        """Return a sentence with its values filled in."""
        sentence = _WORDS[name][self._place]
        return sentence.format(**values) if values else sentence

    def known(self, name: str) -> str | None:
        """Return the word for a value that may be one of ours (a category, a direction), else None."""
        found = _WORDS.get(name)
        return None if found is None else found[self._place]

    def source(self, name: str) -> str:
        """Return where a price or rate comes from: in words where it is ours, else as it was stored."""
        found = _SOURCES.get(name)
        return name if found is None else found[self._place]
