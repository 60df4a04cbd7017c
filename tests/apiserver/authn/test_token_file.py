from pathlib import Path

import pytest

from apiserver.authn.token_file import TokenFile, TokenFileError, load_token_file, parse_token_file
from apiserver.user import User

TEXT = """\
# people
s3cret,kubernetes-admin,admin,"system:masters"
t0ken,ada,42,"dev, ops"
bare,bob,7
"""


def test_each_line_is_a_user_with_its_groups() -> None:
    tokens = TokenFile(parse_token_file(TEXT, "tokens.csv"))
    assert tokens.authenticate("s3cret") == User("kubernetes-admin", "admin", ("system:masters",))
    assert tokens.authenticate("t0ken") == User("ada", "42", ("dev", "ops"))
    assert tokens.authenticate("bare") == User("bob", "7")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("s3cre", id="a prefix of a token"),
        pytest.param("s3cret ", id="a token and a blank"),
        pytest.param("# people", id="a comment"),
        pytest.param("ada", id="a user's name"),
        pytest.param("\udcff", id="what is no UTF-8"),
    ],
)
def test_a_wrong_token_is_nobody(token: str) -> None:
    assert TokenFile(parse_token_file(TEXT, "tokens.csv")).authenticate(token) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a,b\n", "line 1: has 2 fields, needs token,user,uid", id="too few fields"),
        pytest.param("a,b,c\n,b,c\n", "line 2: the token is empty", id="no token"),
        pytest.param("a,,c\n", "line 1: the user is empty", id="no user"),
        pytest.param("a,b,c\na,d,e\n", "line 2: the token is used twice", id="token twice"),
        pytest.param('a,b(c,\r"', "line 1: not comma-separated values", id="no table"),
    ],
)
def test_a_malformed_file_names_the_line(text: str, message: str) -> None:
    with pytest.raises(TokenFileError, match=message):
        parse_token_file(text, "tokens.csv")


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text(TEXT)
    path.chmod(0o644)
    with pytest.raises(TokenFileError, match=r"mode 0644 lets others read it; run chmod 600"):
        load_token_file(path)
    path.chmod(0o600)
    assert load_token_file(path).authenticate("bare") is not None


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"tokens\.csv: No such file or directory$"):
        load_token_file(tmp_path / "tokens.csv")


def test_errors_and_reprs_hold_no_token() -> None:
    with pytest.raises(TokenFileError) as refusal:
        parse_token_file("s3cret,b,c\ns3cret,d,e\n", "tokens.csv")
    assert "s3cret" not in str(refusal.value)
    tokens = TokenFile(parse_token_file(TEXT, "tokens.csv"))
    assert "s3cret" not in repr(tokens._entries)
