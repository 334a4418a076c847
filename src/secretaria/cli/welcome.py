"""What `secretaria up` prints once everything serves: where the panel is, and how to get in."""

import json
import secrets
from typing import TYPE_CHECKING

from secretaria.cli.context import command_line

if TYPE_CHECKING:
    from secretaria.cli.demo_state import DemoState
    from secretaria.settings import Settings


def print_welcome(settings: "Settings", url: str, *, has_users: bool, stop: str) -> None:
    """Print it on stdout; with a demo its login, its key and a line to try."""
    from secretaria.cli.demo_state import read_state

    state = read_state(settings.secretaria_data_dir)
    lines = ["", f"  Panel     {url}"]
    if state is not None:
        lines += _demo_lines(state, url)
    else:
        lines += _first_steps(settings, has_users=has_users)
    print("\n".join([*lines, f"  Stop      {stop}", ""]), flush=True)


def _first_steps(settings: "Settings", *, has_users: bool) -> list[str]:
    lines = []
    if not has_users:
        lines += [
            "  Login     nobody can log in yet. In another terminal:",
            f"            {command_line('user create you@example.com --role operator')}",
        ]
    if settings.billing_cost_per_message is None or settings.billing_cost_per_thousand_tokens is None:
        lines += [
            "  Prices    not set: usage is counted, and shown as not priced. Set BILLING_COST_PER_MESSAGE and",
            "            BILLING_COST_PER_THOUSAND_TOKENS, and start again",
        ]
    return lines


def _demo_lines(state: "DemoState", url: str) -> list[str]:
    access = state.access
    event = {
        "specversion": "1.0",
        "id": f"hello-{secrets.token_hex(4)}",
        "source": "curl",
        "type": "usage.recorded",
        "data": {"direction": "outbound", "messages": 1, "tokens_input": 120, "tokens_output": 80},
    }
    traffic = "demo start" if state.stopped else "demo stop"
    return [
        f"  Login     {access.email}",
        f"  Password  {access.password}",
        f"  API key   {access.api_key}",
        "",
        "  Count a message of the first company, and see the panel move (pasted twice, it counts once):",
        "",
        f"  curl -sS {url}/api/usage -H 'Content-Type: application/json' \\",
        f"    -H 'Authorization: Bearer {access.api_key}' \\",
        f"    -d '{json.dumps(event)}'",
        "",
        f"  Live traffic is {'off' if state.stopped else 'on'}: {command_line(traffic)}",
        f"  Remove the demo: {command_line('demo remove')}",
        "",
    ]
