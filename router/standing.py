"""How far a node's word is taken: 1 for one that was never caught, less after each finding. Pure.

A finding halves it, whatever it is about; each check that the node passes gives back a twentieth of
what is missing. So a node that lies in every second answer sinks, and one finding in a thousand
checks is forgotten.
"""

FULL = 1.0
AFTER_FINDING = 0.5
RESTORED = 0.05
"""Of what is missing, by one check that was passed."""


def after_check(standing: float, honest: bool) -> float:
    """Return the standing after one more check."""
    return standing + (FULL - standing) * RESTORED if honest else standing * AFTER_FINDING
