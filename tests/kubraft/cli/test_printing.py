"""Tables, formats, ages, names: what goes to the terminal."""

import io
from typing import Any

import pytest

from kubraft.api.errors import NotFoundError, UnauthorizedError
from kubraft.api.gvk import DEPLOYMENT, POD, GroupVersionKind
from kubraft.cli.connection import resolve
from kubraft.cli.failure import ClusterAbsentError, CommandError, failure_line
from kubraft.cli.kind_table import KindTable, Target, parse_targets
from kubraft.cli.output import as_yaml, check_format, formatted
from kubraft.cli.table_view import TableView, aligned, cell_text
from kubraft.cli.terminal import Terminal
from kubraft.client.client import Kind
from kubraft.home import Home


def terminal(*, colour: bool = False) -> Terminal:
    return Terminal(io.StringIO(), io.StringIO(), colour=colour)


TABLE: dict[str, Any] = {
    "columnDefinitions": [
        {"name": "Name", "priority": 0},
        {"name": "Status", "priority": 0},
        {"name": "Node", "priority": 1},
    ],
    "rows": [
        {
            "cells": ["web", "Running", "node-0"],
            "object": {"metadata": {"namespace": "shop", "labels": {"b": "2", "a": "1"}}},
        },
        {"cells": ["a-longer-name", "Init:Error", None], "object": {"metadata": {}}},
    ],
}


def test_columns_stand_under_each_other() -> None:
    assert TableView(terminal()).lines(TABLE) == [
        "NAME            STATUS",
        "web             Running",
        "a-longer-name   Init:Error",
    ]


def test_a_wide_table_with_all_trimmings() -> None:
    view = TableView(terminal(), wide=True, namespaces=True, name_prefix="pod/", show_labels=True)
    assert view.lines(TABLE) == [
        "NAMESPACE   NAME                STATUS       NODE     LABELS",
        "shop        pod/web             Running      node-0   a=1,b=2",
        "            pod/a-longer-name   Init:Error   <none>   <none>",
    ]


def test_a_watch_keeps_its_columns_and_can_do_without_header() -> None:
    view = TableView(terminal())
    view.lines(TABLE)
    one = {**TABLE, "rows": TABLE["rows"][:1]}
    assert view.lines(one, header=False) == ["web             Running"]


def test_colours_do_not_move_columns() -> None:
    lines = TableView(terminal(colour=True)).lines(TABLE)
    assert "\x1b[32mRunning\x1b[0m" in lines[1]
    assert "\x1b[31mInit:Error\x1b[0m" in lines[2]
    assert [line.index("\x1b") for line in lines[1:]] == [16, 16]


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "<none>"), (True, "true"), (3, "3"), ("a\nb", "a b"), ("", "")],
)
def test_cells(cell: object, text: str) -> None:
    assert cell_text(cell) == text


def test_rows_of_different_length() -> None:
    assert aligned([["a", "b"], ["ccc"]]) == ["a     b", "ccc"]
    assert aligned([]) == []


CONFIG_MAP = {
    "kind": "ConfigMap",
    "apiVersion": "v1",
    "metadata": {"name": "c"},
    "data": {"text": "one\ntwo\n", "number": "1", "yes": "yes"},
}


def test_yaml_quotes_what_would_be_read_as_something_else() -> None:
    assert as_yaml(CONFIG_MAP) == (
        "apiVersion: v1\n"
        "data:\n"
        "  number: '1'\n"
        "  text: |\n"
        "    one\n"
        "    two\n"
        "  'yes': 'yes'\n"
        "kind: ConfigMap\n"
        "metadata:\n"
        "  name: c"
    )


def test_one_object_or_a_list() -> None:
    assert '"kind": "ConfigMap"' in formatted("json", [CONFIG_MAP], as_list=False)
    assert formatted("json", [], as_list=True).count('"items": []') == 1
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    shown = formatted("name", [CONFIG_MAP, deployment], as_list=True)
    assert shown == "configmap/c\ndeployment.apps/web"


def test_an_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(CommandError, match='"xml", allowed formats are: json,name,wide,yaml'):
        check_format("xml")


def kind(gvk: GroupVersionKind, plural: str, *short: str, categories: tuple[str, ...] = ()) -> Kind:
    return Kind(gvk, plural, gvk.kind.lower(), short, categories, True, (), ())


PODS = kind(POD, "pods", "po", categories=("all",))
DEPLOYMENTS = kind(DEPLOYMENT, "deployments", "deploy", categories=("all",))
EVENTS = kind(GroupVersionKind("events.k8s.io", "v1", "Event"), "events", "ev")
CORE_EVENTS = kind(GroupVersionKind("", "v1", "Event"), "events", "ev")
KINDS = KindTable([EVENTS, DEPLOYMENTS, PODS, CORE_EVENTS])


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        pytest.param(["pods"], [Target(PODS)], id="plural"),
        pytest.param(["Pod"], [Target(PODS)], id="kind"),
        pytest.param(["po", "a", "b"], [Target(PODS, ("a", "b"))], id="short, with names"),
        pytest.param(["pods,deploy"], [Target(PODS), Target(DEPLOYMENTS)], id="several kinds"),
        pytest.param(["all"], [Target(PODS), Target(DEPLOYMENTS)], id="a category"),
        pytest.param(["deployments.apps"], [Target(DEPLOYMENTS)], id="with its group"),
        pytest.param(["deployment.v1.apps"], [Target(DEPLOYMENTS)], id="with its version"),
        pytest.param(["events"], [Target(CORE_EVENTS)], id="the core group goes first"),
        pytest.param(["events.events.k8s.io"], [Target(EVENTS)], id="unless named"),
        pytest.param(
            ["po/a", "deploy/b"], [Target(PODS, ("a",)), Target(DEPLOYMENTS, ("b",))], id="slashes"
        ),
    ],
)
def test_targets(words: list[str], targets: list[Target]) -> None:
    assert parse_targets(KINDS, words) == targets


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "You must specify the type of resource to get", id="nothing"),
        pytest.param(["foo"], 'the server doesn\'t have a resource type "foo"', id="unknown"),
        pytest.param(["po/a", "b"], "there is no need to specify a resource type", id="mixed"),
        pytest.param(["po/"], "must have a single resource and name", id="no name"),
        pytest.param(["po/a/b"], "must have a single resource and name", id="two slashes"),
    ],
)
def test_what_is_no_target(words: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        parse_targets(KINDS, words)


def test_the_verb_that_lacks_its_target_is_named() -> None:
    with pytest.raises(CommandError, match="You must specify the type of resource to delete"):
        parse_targets(KINDS, [], "delete")


def test_failures_read_as_kubectls() -> None:
    assert failure_line(NotFoundError('pods "x" not found')) == (
        'Error from server (NotFound): pods "x" not found'
    )
    assert failure_line(UnauthorizedError("Unauthorized")) == (
        "error: You must be logged in to the server (Unauthorized)"
    )
    assert failure_line(CommandError("no")) == "error: no"
    assert failure_line(ClusterAbsentError("none here")) == "kubraft: none here"


def test_without_a_cluster_a_server_must_be_named(tmp_path: Any) -> None:
    home = Home(tmp_path / "none")
    with pytest.raises(ClusterAbsentError, match="no cluster is running here .*'make up'"):
        resolve(home)
    named = resolve(home, server="h:1", token="t", ca_file="ca")
    assert (named.server, named.token, str(named.ca_file)) == ("h:1", "t", "ca")
    assert "token" not in repr(named)


def test_a_token_is_not_sent_in_the_clear(tmp_path: Any) -> None:
    home = Home(tmp_path / "none")
    with pytest.raises(CommandError, match="--token needs --ca-file"):
        resolve(home, server="h:1", token="t")
    assert resolve(home, server="h:1").ca_file is None
