"""A real worker process is killed between an attempt and its mark: the next one sends it again under the same id."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from secretaria.bootstrap import Application
from secretaria.embedded.servers import Endpoints
from tests.receiver import answer, receiving
from tests.services.dispatching import Post, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.long]


@pytest.fixture
def post(application: Application, endpoints: Endpoints) -> Post:
    assert endpoints.admin_url is not None
    return Post(application, endpoints.admin_url, application.clock())


@contextmanager
def worker(endpoints: Endpoints, failpoint: str = "") -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "DATABASE_URL": endpoints.database_url,
        "DATABASE_OWNER_URL": endpoints.owner_url,
        "REDIS_URL": endpoints.redis_url,
        "SECRETARIA_TEST": "1",
        "SECRETARIA_FAILPOINT": failpoint,
    }
    with subprocess.Popen([sys.executable, "-m", "secretaria", "worker", "--quiet"], env=environment) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.parametrize("point", ["delivery.leased", "delivery.sent", "delivery.marked"])
async def test_a_worker_killed_at_any_point_leaves_a_delivery_that_arrives_under_its_id(
    post: Post, endpoints: Endpoints, point: str
) -> None:
    async with receiving() as receiver:
        endpoint_id = await post.add(receiver.url("/x"))
        await post.tell("alert_1")
        with worker(endpoints, f"{point}:1:kill") as killed:
            await until(lambda: killed.poll() is not None, within_s=60)
        assert killed.returncode == -signal.SIGKILL
        assert post.delivery(endpoint_id)[:2] == ("waiting", 0)
        assert post.attempts(endpoint_id) == []
        before = len(receiver.received)
        assert before == (0 if point == "delivery.leased" else 1)
        post.execute("UPDATE delivery_endpoints SET leased_until = now()")  # 45 seconds later
        with worker(endpoints):
            await until(lambda: post.delivery(endpoint_id)[0] == "delivered", within_s=60)
    assert len(receiver.received) == before + 1
    assert {of.id for of in receiver.received} == {f"alert_1_1_{endpoint_id}"}
    assert post.attempts(endpoint_id) == [(200, None)]


async def test_sigterm_lets_an_attempt_under_way_end(post: Post, endpoints: Endpoints) -> None:
    async with receiving() as receiver:
        receiver.answers["/x"] = answer(200, after_s=2)
        endpoint_id = await post.add(receiver.url("/x"))
        with worker(endpoints) as process:
            await post.tell("alert_1")
            await until(lambda: len(receiver.received) == 1, within_s=60)
            process.send_signal(signal.SIGTERM)
            await until(lambda: process.poll() is not None)
        assert process.returncode == 0
    assert post.attempts(endpoint_id) == [(200, None)]
    assert post.endpoint(endpoint_id, "leased_until") == (None,)
