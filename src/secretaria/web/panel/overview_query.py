"""What a reader asks the list of companies for, as it stands in the address: search, situation, plan, order, place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.standings import ORDERS, Wanted
from secretaria.web.panel.live_view import search_text

HERE: Final = "/empresas"
SEARCH_CHARS_MAX: Final = 100
CURSOR_CHARS_MAX: Final = 400
WITHOUT_PLAN: Final = "sem"
DEFAULT_ORDER: Final = "atencao"
SITUATIONS: Final = {
    "critico": "critical", "aviso": "warning", "sem-dados": "no_data", "sem-preco": "not_priced",
}  # fmt: skip
# Name in the address -> what is sorted by, and whether the largest comes first.
ORDER_NAMES: Final = {
    DEFAULT_ORDER: ("attention", False),
    "nome": ("name", False), "nome-desc": ("name", True),
    "custo": ("cost", True), "custo-asc": ("cost", False),
    "uso": ("percent", True), "uso-asc": ("percent", False),
    "mensagens": ("messages", True), "mensagens-asc": ("messages", False),
}  # fmt: skip
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_GLUE: Final = "~"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The query of the page: names as in the address, "" where nothing was asked for."""

    search: str = ""
    situation: str = ""
    plan: str = ""
    order: str = DEFAULT_ORDER
    after: tuple[str, ...] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "ListQuery":
        """Read an address; what nobody could have chosen is left out."""
        situation, plan = parameters.get("situacao", ""), parameters.get("plano", "")
        order = parameters.get("ordem", "")
        order = order if order in ORDER_NAMES else DEFAULT_ORDER
        is_plan = plan == WITHOUT_PLAN or (plan.isascii() and plan.isdigit() and int(plan[:20]) <= COMPANY_ID_MAX)
        return cls(
            search=search_text(parameters.get("q", "")[:SEARCH_CHARS_MAX]),
            situation=situation if situation in SITUATIONS else "",
            plan=plan if is_plan else "",
            order=order,
            after=_cursor(parameters.get("apos", ""), ORDER_NAMES[order][0]),
        )

    @property
    def wanted(self) -> Wanted:
        """What the service is asked."""
        order, descending = ORDER_NAMES[self.order]
        plan_id = None if not self.plan else 0 if self.plan == WITHOUT_PLAN else int(self.plan)
        return Wanted(self.search, SITUATIONS.get(self.situation), plan_id, order, descending, self.after)

    @property
    def is_narrowed(self) -> bool:
        """Tell whether anything but the order was asked for."""
        return bool(self.search or self.situation or self.plan)

    def parameters(self) -> dict[str, str]:
        """Return the query of the address, without what is the default anyway."""
        found = {
            "q": self.search,
            "situacao": self.situation,
            "plano": self.plan,
            "ordem": "" if self.order == DEFAULT_ORDER else self.order,
            "apos": _GLUE.join(self.after),
        }
        return {name: value for name, value in found.items() if value}

    def url(self, **changes: object) -> str:
        """Return the list's address with these changes; it begins anew unless told where to go on."""
        query = urlencode(replace(self, **({"after": ()} | changes)).parameters())  # type: ignore[arg-type]
        return f"{HERE}?{query}" if query else HERE


def _cursor(text: str, order: str) -> tuple[str, ...]:
    """Return the key a page goes on behind; () for what is none of this order's."""
    keys = len(ORDERS[order])
    parts = text[:CURSOR_CHARS_MAX].rsplit(_GLUE, keys)
    if len(parts) != keys + 1 or not (parts[-1].isascii() and parts[-1].isdigit() and len(parts[-1]) < 19):
        return ()
    numbers = [] if order == "name" else parts[:-1]
    if any(not _NUMBER.fullmatch(number) for number in numbers) or "\0" in text:
        return ()
    return tuple(parts)
