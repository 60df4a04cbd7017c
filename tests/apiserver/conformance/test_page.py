"""The page says what is held, and no more."""

from tests.apiserver.conformance.page import PAGE, page


def test_the_page_is_made_of_the_stories() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.apiserver.conformance.page"
