"""Who is calling and what that allows. Company 0 is the operator, who may act for every company."""

from dataclasses import dataclass
from enum import StrEnum

from secretaria.core.errors import NotAllowed, NotFound

OPERATOR_COMPANY_ID = 0


class Scope(StrEnum):
    """What an API key may do."""

    USAGE_WRITE = "usage:write"
    USAGE_BACKFILL = "usage:backfill"
    ANALYTICS_READ = "analytics:read"
    COMPANIES_WRITE = "companies:write"
    KEYS_WRITE = "keys:write"
    ENDPOINTS_WRITE = "endpoints:write"


OPERATOR_ONLY_SCOPES = frozenset({Scope.COMPANIES_WRITE})
DEFAULT_SCOPES = frozenset({Scope.USAGE_WRITE, Scope.ANALYTICS_READ})
MEMBER_SCOPES = frozenset({Scope.ANALYTICS_READ, Scope.KEYS_WRITE, Scope.ENDPOINTS_WRITE})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: a user's session, an API key, or the process itself.

    company_id is the credential's own; nothing a request says can change it. identity names it in the audit log
    ("user:3", "key:ab12", "process").
    """

    company_id: int
    identity: str
    scopes: frozenset[Scope]

    @property
    def is_operator(self) -> bool:
        """Tell whether the caller may act for every company."""
        return self.company_id == OPERATOR_COMPANY_ID

    def require_scope(self, scope: Scope) -> None:
        """Raise NotAllowed when the scope was not given."""
        if scope not in self.scopes:
            raise NotAllowed(f"this credential lacks the scope {scope}", code="scope_missing")

    def require_company(self, company_id: int) -> None:
        """Raise NotFound when the company is another's: the answer is that of a company that does not exist."""
        if not self.is_operator and self.company_id != company_id:
            raise NotFound("no such company", code="company_not_found")

    def require_operator(self) -> None:
        """Raise NotAllowed for everyone but the operator."""
        if not self.is_operator:
            raise NotAllowed("only the operator may do this")


PROCESS = Caller(company_id=OPERATOR_COMPANY_ID, identity="process", scopes=frozenset(Scope))
