"""Numbers that may be given as percentages: surge, unavailability, disruption budgets.

Source: Kubernetes API reference, IntOrString.
"""

from __future__ import annotations


def share_of(share: int | str, total: int, *, round_up: bool = True) -> int:
    """A number as it stands, or a percentage of `total`.

    Raises:
        ValueError: neither; validation lets no such value in.
    """
    if isinstance(share, int):
        return share
    percent = share.removesuffix("%")
    if percent == share or not percent.isdecimal():
        raise ValueError(f"{share!r} is neither a number nor a percentage")
    product = int(percent) * total
    return -(-product // 100) if round_up else product // 100
