"""What services promise each other by events, and whether they keep it."""

from bandstand.workspace.contracts.comparing import Difference, compare

__all__ = ["Difference", "compare"]
