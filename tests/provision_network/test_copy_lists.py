"""Lists of copies in CSV: every line is checked before anything is stored."""

from __future__ import annotations

import pytest

from kazashi.provision_network.copy_lists import ListedCopy, copies_in
from kazashi.provision_network.documents import DocumentRejected
from kazashi.provision_network.terms import NetworkRejected

pytestmark = pytest.mark.unit

HEAD = "person,item,content,hold\n"


def address_of(who: str) -> str:
    if who == "nobody":
        raise NetworkRejected("not-listed", "nobody is not on the list")
    return f"address of {who}"


def test_people_and_address_numbers_name_a_person() -> None:
    copies, place = copies_in(HEAD + '花子,a,"x\ny, z",yes\ntaro,b,,\n', address_of)
    assert copies == [
        ListedCopy("address of 花子", "a", "x\ny, z", True),
        ListedCopy("address of taro", "b", "", False),
    ]
    assert [place(0), place(1)] == ["line 3", "line 4"], "a content of two lines counts as two"
    copies, _ = copies_in("\ufeffhold,content,address_number,item\r\nNO,x,0000000001,a\r\n\r\n", address_of)
    assert copies == [ListedCopy("0000000001", "a", "x", False)]


@pytest.mark.parametrize(("text", "words"), [
    ("", "line 1: the columns"), ("a,b\n", "line 1: the columns"), ("person,person,item,content\n", "line 1"),
    (HEAD + "x,a,b\n", "line 2: there are 3 values for 4 columns"), (HEAD + "x,a,b,no\nx,a,b,?\n", "line 3: hold"),
    (HEAD + "nobody,a,b,no\n", "line 2: nobody is not on the list"), (HEAD + 'x,a,"b" c,no\n', "line 2: "),
    (HEAD + 'x,a,"b', "line 2: "),
])  # fmt: skip
def test_the_line_of_an_error_is_named(text: str, words: str) -> None:
    with pytest.raises(DocumentRejected) as rejected:
        copies_in(text, address_of)
    assert str(rejected.value).startswith(words)
