"""What tests of services need: real servers from the wheels, keys for everybody, other services played by rules.

- ``bandstand.testing.plugin``: the pytest plugin for a service's own tests.
- ``bandstand.testing.services``: ``fake_services()``, answers for the services that are called.
- ``bandstand.testing.events``: what was published, and its way through the handlers.
- ``bandstand.testing.policies``: ``PolicyMatrix``, who may use which endpoint, held against the routes.
- ``bandstand.testing.bad_input``: ``assert_withstands_bodies(…)`` and its siblings: no answer to bad input is a 500.
- ``bandstand.testing.gateway``: what every gateway of a platform does, as tests that know only its address.
- ``bandstand.testing.races``: ``run_at_once(count, work)``, threads that begin together.
- ``bandstand.testing.project``: ``deployment_faults()``, ``openapi_document()``, ``manage(…)``.
- ``FaultProxy`` and ``Fault``: a network that is slow, cut, silent or narrow, between a client and a real server.
- ``EphemeralPostgres``: a PostgreSQL of its own for one test run.
- ``require_server(name, found, how)``: skips a test whose server is missing, or fails it where it must not be.
"""

from bandstand.testing.faults import Fault, FaultProxy
from bandstand.testing.postgres import EphemeralPostgres
from bandstand.testing.requirements import require_server

__all__ = ["EphemeralPostgres", "Fault", "FaultProxy", "require_server"]
