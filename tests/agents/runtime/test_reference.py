from __future__ import annotations

import pytest

from agents.runtime.images import ImageNotFoundError, ImageStore
from agents.runtime.reference import parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("kubraft/web", "docker.io/kubraft/web:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
    ],
)
def test_references_are_completed(text: str, full: str) -> None:
    assert str(parse_reference(text)) == full


@pytest.mark.parametrize("text", ["", "UPPER", "a b", ":tag", "a:", "a/:b", "http://a/b", "-a"])
def test_what_names_no_image_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        parse_reference(text)
    with pytest.raises(ImageNotFoundError, match="failed to parse reference"):
        ImageStore("/bin").pull(text)


def test_an_id_finds_the_image_that_was_asked_for() -> None:
    store = ImageStore("/bin")
    local = store.pull("kubraft/web:v1")
    assert store.find(local.id) == local
    assert store.find(local.repo_digest) == local
    store.remove("kubraft/web:v1")
    assert store.find(local.id) is None
    assert store.find(f"kubraft/web@{DIGEST}") is None
