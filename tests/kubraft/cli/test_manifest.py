from pathlib import Path

import pytest

from kubraft.cli.failure import CommandError
from kubraft.cli.manifest import parse_manifests, read_manifests

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\n"


def pod(name: str) -> str:
    return POD.replace("NAME", name)


def names(text: str) -> list[str]:
    return [manifest.object["metadata"]["name"] for manifest in parse_manifests(text, "x.yaml")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(pod("a"), ["a"], id="one document"),
        pytest.param(f"{pod('a')}---\n{pod('b')}", ["a", "b"], id="several documents"),
        pytest.param(f"---\n---\n{pod('a')}---\n", ["a"], id="empty documents"),
        pytest.param("# nothing\n", [], id="only a comment"),
        pytest.param('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}', ["a"], id="JSON"),
        pytest.param(
            '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}\n'
            '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}',
            ["a", "b"],
            id="several of JSON",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {name: a}}", ["a"], id="YAML in flow style"
        ),
        pytest.param(
            "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}"
            "\n- {apiVersion: v1, kind: PodList, items: [{apiVersion: v1, kind: Pod, "
            "metadata: {name: b}}]}",
            ["a", "b"],
            id="Lists of Lists",
        ),
    ],
)
def test_all_objects_of_a_text_are_found(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [
        pytest.param("2026-01-02", "2026-01-02", id="a date stays a text"),
        pytest.param("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", id="so does a time"),
        pytest.param("12:30:45", "12:30:45", id="and a number to base 60"),
        pytest.param("0644", 0o644, id="a mode is octal"),
        pytest.param("0x10", 16, id="hexadecimal"),
        pytest.param("1_000", 1000, id="underscores"),
        pytest.param("-5", -5, id="negative"),
        pytest.param("1.5", 1.5, id="a fraction"),
        pytest.param("1e3", 1000.0, id="an exponent without a point"),
        pytest.param("100m", "100m", id="a quantity"),
        pytest.param("1.2.3", "1.2.3", id="a version"),
        pytest.param("yes", True, id="yes is true"),
        pytest.param('"yes"', "yes", id="unless it is quoted"),
        pytest.param("~", None, id="null"),
        pytest.param("08", "08", id="no octal digits"),
    ],
)
def test_values_are_read_as_kubernetes_reads_them(written: str, value: object) -> None:
    (manifest,) = parse_manifests(f"{pod('a')}spec: {{x: {written}}}\n", "x.yaml")
    found = manifest.object["spec"]["x"]
    assert found == value
    assert type(found) is type(value)


def test_keys_become_texts_and_anchors_merge() -> None:
    text = f"{pod('a')}base: &base {{1: a, true: b}}\nspec: {{<<: *base, 1: c}}\n"
    (manifest,) = parse_manifests(text, "x.yaml")
    assert manifest.object["base"] == {"1": "a", "true": "b"}
    assert manifest.object["spec"] == {"1": "c", "true": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "error parsing x.yaml: while parsing", id="not YAML"),
        pytest.param("a: 1\na: 2\n", 'key "a" already set in map', id="a key twice"),
        pytest.param("- 1\n", "a document is not an object but list", id="no object"),
        pytest.param("kind: Pod\n", "apiVersion and kind must be set", id="no apiVersion"),
        pytest.param(f"{pod('a')}---\nkind: Pod\n", "x.yaml, document 2: apiVersion",
                     id="which of several documents"),
        pytest.param("[" * 5000, "error parsing x.yaml: nested too deeply", id="deep YAML"),
        pytest.param('{"a":' * 100_000, "error parsing x.yaml: nested too deeply", id="deep JSON"),
        pytest.param("apiVersion: a/b/c\nkind: X\n", "unexpected GroupVersion", id="bad version"),
        pytest.param("apiVersion: v1\nkind: Pod\n", "metadata.name: Required value", id="no name"),
        pytest.param(f"{pod('a')}x: !!python/object:os.system {{}}", "could not determine a constr",
                     id="a tag that is not safe"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_said_with_its_source(text: str, message: str) -> None:
    with pytest.raises(CommandError, match="x.yaml") as error:
        parse_manifests(text, "x.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_are_read_in_order_and_deeply_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(pod("b"))
    (tmp_path / "a.yml").write_text(pod("a"))
    (tmp_path / "notes.txt").write_text("not a manifest")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.json").write_text(
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}'
    )
    flat = read_manifests([str(tmp_path)])
    assert [m.object["metadata"]["name"] for m in flat] == ["a", "b"]
    deep = read_manifests([str(tmp_path)], recursive=True)
    assert [m.object["metadata"]["name"] for m in deep] == ["a", "b", "c"]


def test_paths_that_hold_nothing_are_said(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none.yaml", "does not exist"),
        (tmp_path, "recognized file extensions"),
    ):
        with pytest.raises(CommandError, match=message):
            read_manifests([str(path)])
    with pytest.raises(CommandError, match="must specify one of -f"):
        read_manifests([])
