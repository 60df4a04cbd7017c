"""Which addresses Endpoints may name."""

from __future__ import annotations

import pytest

from apiserver.registry.kinds.core import _special
from apiserver.registry.paths import Place


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("10.1.0.1", False),
        ("127.64.0.9", False),  # of a Pod of the embedded runtime
        ("127.127.1.1", False),
        ("127.0.0.1", True),
        ("127.63.255.255", True),
        ("127.9.0.1", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
    ],
)
def test_only_pods_have_loopback_addresses(address: str, refused: bool) -> None:
    assert bool(_special(Place("subsets[0].addresses[0].ip", address, {}, "ip"))) is refused
