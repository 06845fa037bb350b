"""The query of an address that pages connect to."""

from __future__ import annotations

from urllib.parse import parse_qs

from hypothesis import example, given
from hypothesis import strategies as st

from pushline.http.request import Request
from pushline.transports.base import parameters


@given(st.text(st.sampled_from("ab=&+%2?é") | st.characters(max_codepoint=255), max_size=30))
@example("page=p&after=1-0&page=q")
@example("a=%F0%9F%8E%B2&b+c=d%20e&f&=g&&")
@example("")
def test_is_read_as_python_reads_it_and_the_first_of_a_name_counts(query: str) -> None:
    request = Request()
    request.query = query.encode("latin-1")
    read = {name: value for name, value in parameters(request).items() if name or value}
    expected = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    assert read == {name: value for name, value in expected.items() if name or value}
