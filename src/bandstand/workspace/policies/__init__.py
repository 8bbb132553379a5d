"""What holds for the calls of one service to another, where each value comes from, and the worst that can happen.

``explain(workspace, caller, callee)`` puts together the defaults, ``bandstand.toml`` and what the services' own
settings say; nothing need run.
"""

from bandstand.workspace.policies.explaining import Chain, Explanation, explain
from bandstand.workspace.policies.sources import Value

__all__ = ["Chain", "Explanation", "Value", "explain"]
