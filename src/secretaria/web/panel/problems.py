"""Errors as panel pages: what happened, what was kept, what to do; the API answers the same ones as problem+json."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from psycopg import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from secretaria.core.errors import (
    NotAuthenticated,
    SecretariaError,
    TooManyAttempts,
    Unavailable,
)
from secretaria.web.errors import internal_error, request_id_of, status_of
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.render import locale_of, own_path, page

LOGIN_PATH: Final = "/entrar"
_REFERENCE_CHARS: Final = 8
Handler: TypeAlias = Callable[[Request, Exception], Coroutine[Any, Any, Response]]


class PanelRoute(APIRoute):
    """A route whose errors are pages: no session leads to the login, which leads back."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except NotAuthenticated:
                return login_redirect(request)
            except SecretariaError as error:
                return problem_page(request, status_of(error), error)
            except HTTPException as error:
                return problem_page(request, error.status_code)
            except RequestValidationError:
                # An address that cannot exist, or a form that our own pages do not send.
                return problem_page(request, 404 if request.method == "GET" else 422)
            except (OperationalError, InterfaceError):
                return problem_page(request, 503)
            except Exception as error:  # noqa: BLE001 - the last door: logged, and answered as a page
                internal_error(error, request.scope)
                return problem_page(request, 500)

        return answer


def install(app: FastAPI) -> None:
    """Let people see a page where a program would get problem+json: addresses outside /api that do not exist."""
    as_problem = cast("Handler", app.exception_handlers[HTTPException])

    async def answer(request: Request, error: Exception) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and isinstance(error, HTTPException) and not request.url.path.startswith("/api/"):
            return problem_page(request, error.status_code)
        return await as_problem(request, error)

    app.add_exception_handler(HTTPException, answer)


def login_redirect(request: Request) -> Response:
    """Send a visitor without a session to the login, and back to this page afterwards."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = own_path(here) if request.method == "GET" else "/"
    target = LOGIN_PATH if back == "/" else f"{LOGIN_PATH}?voltar={quote(back, safe='/')}"
    return RedirectResponse(target, 303)


def problem_page(request: Request, status: int, error: SecretariaError | None = None) -> Response:
    """Return a page for a status; unexpected ones end with a code that the log knows."""
    locale = locale_of(request)
    _ = texts(locale).gettext
    reference = ""
    again = own_path(request.url.path) if request.method == "GET" else "/"
    action, action_url = _("Ir para o início"), "/"
    if status == 404:
        heading = _("Página não encontrada")
        explanation = _("O endereço não existe ou não é desta conta.")
    elif status in {401, 403}:
        heading = _("Você não tem acesso a esta página")
        explanation = _("Nada foi alterado.")
    elif status in {429, 503}:
        heading = _("Não foi possível carregar")
        explanation = _("O serviço não responde agora. Seus dados estão guardados.")
        action, action_url = _("Tentar de novo"), again
    elif status < 500:
        heading = _("Não foi possível atender este pedido")
        explanation = _("Nada foi alterado.")
    else:
        heading = _("Algo deu errado do nosso lado")
        explanation = _("Seus dados estão guardados e o erro foi registrado.")
        action, action_url = _("Tentar de novo"), again
        reference = request_id_of(request.scope)[:_REFERENCE_CHARS]
    values = {
        "heading": heading,
        "explanation": explanation,
        "action": action,
        "action_url": action_url,
        "reference": reference,
    }
    response = page(request, "problem.html", values, locale=locale, status=status)
    if isinstance(error, TooManyAttempts | Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response
