import psycopg
import pytest

from tests.integration.servers import Postgres
from tests.waiting import GUARD

from .web import Web

pytestmark = pytest.mark.integration


def test_a_request_that_waits_for_the_database_ends_in_time(web: Web, postgres: Postgres) -> None:
    """Behind a lock that nobody gives up a request is a 504 when its caller's time is over, and never a 500."""
    with psycopg.connect(postgres.url()) as holder:
        holder.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{GUARD:g}s'")  # type: ignore[arg-type]
        holder.execute("LOCK TABLE auth_group")
        for method, body in (("GET", None), ("POST", {"name": "waiting"})):
            answer = web.ask(method, "/api/v1/groups/", body, {"X-Request-Timeout-Ms": "300"})
            assert (answer.status, answer.json()["code"]) == (504, "deadline_exceeded")
    answer = web.ask("GET", "/api/v1/groups/?search=waiting", headers={"X-Request-Timeout-Ms": "60000"})
    assert (answer.status, answer.json()["results"]) == (200, [])


def test_what_comes_too_late_is_undone(web: Web, postgres: Postgres) -> None:
    """A write whose caller has gone is rolled back with its key, so the repetition does the work, once."""
    headers = {"Idempotency-Key": "too-late"}
    answer = web.ask("POST", "/api/v1/orders/", {"seconds": 0.4}, {**headers, "X-Request-Timeout-Ms": "200"})
    assert (answer.status, answer.json()["code"]) == (504, "deadline_exceeded")
    assert web.ask("POST", "/api/v1/orders/", {"seconds": 0.4}, headers).status == 201
    with psycopg.connect(postgres.url()) as admin:
        assert admin.execute("SELECT count(*) FROM placed WHERE key = 'too-late'").fetchone() == (1,)


def test_a_request_without_time_is_not_begun(web: Web) -> None:
    """A request whose time was over when it arrived is refused before anything is done."""
    answer = web.ask("POST", "/api/v1/groups/", {"name": "begun"}, {"X-Request-Timeout-Ms": "0"})
    assert (answer.status, answer.json()["code"]) == (504, "deadline_exceeded")
    assert web.ask("GET", "/api/v1/groups/?search=begun").json()["count"] == 0
