"""Subjects, the pool of servers, the outbox, credentials: without I/O."""

import random
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.nats.credentials import CredentialsFile, NKey, Token, UserPassword
from transports.nats.errors import InvalidSubject
from transports.nats.events import Settings
from transports.nats.outbox import MOST_AT_ONCE, Outbox
from transports.nats.pool import Pool, parse_url
from transports.nats.subjects import check_pattern, check_subject, escape, unescape

# -- subjects


@given(st.text())
def test_any_name_is_one_token_and_comes_back(name: str) -> None:
    try:
        token = escape(name)
    except InvalidSubject:
        with pytest.raises(UnicodeEncodeError):
            name.encode()
        return
    assert check_subject(f"a.{token}.b") == f"a.{token}.b".encode()
    assert "." not in token
    assert token.isascii()
    assert unescape(token) == name


@given(st.text(), st.text())
def test_different_names_are_different_tokens(one: str, other: str) -> None:
    try:
        assert (escape(one) == escape(other)) == (one == other)
    except InvalidSubject:
        pass


@given(st.text(st.sampled_from("=0123456789abcdefABCDEFxyz_-.*")))
def test_a_token_is_the_only_one_of_its_name(token: str) -> None:
    try:
        name = unescape(token)
    except InvalidSubject:
        return
    assert escape(name) == token


@given(st.text())
def test_what_is_a_subject_is_one_word_of_one_line(subject: str) -> None:
    try:
        data = check_pattern(subject)
    except InvalidSubject:
        return
    assert data.split() == [data]
    assert b"" not in data.split(b".")


BAD = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a\r\nPUB x 0",
    "a\tb",
    "a\n",
    "a\x00b",
    "a\x85b",
    "\udc80",
]


@pytest.mark.parametrize("subject", [*BAD, "x" * 1501])
def test_what_is_no_subject_is_no_pattern_either(subject: str) -> None:
    for check in (check_subject, check_pattern):
        with pytest.raises(InvalidSubject):
            check(subject)


@pytest.mark.parametrize("pattern", ["*", ">", "a.*", "a.*.b", "a.>", "*.*.>"])
def test_wildcards_are_for_subscriptions(pattern: str) -> None:
    assert check_pattern(pattern) == pattern.encode()
    with pytest.raises(InvalidSubject):
        check_subject(pattern)


@pytest.mark.parametrize("pattern", [">.a", "a.>.b", "a*", "*a", "a>", "**", ">>"])
def test_wildcards_stand_alone_and_the_greater_sign_last(pattern: str) -> None:
    with pytest.raises(InvalidSubject):
        check_pattern(pattern)


# -- the pool


@pytest.mark.parametrize(
    ("url", "place", "tls"),
    [
        ("nats://a:1", "a:1", False),
        ("tls://a", "a:4222", True),
        ("a", "a:4222", False),
        ("a:7", "a:7", False),
        ("nats://[::1]:7", "[::1]:7", False),
    ],
)
def test_urls_of_servers(url: str, place: str, tls: bool) -> None:
    found = parse_url(url)
    assert (str(found), found.tls) == (place, tls)


def test_urls_may_have_credentials() -> None:
    assert parse_url("nats://me:a%40b@h").credentials == UserPassword("me", "a@b")
    assert parse_url("nats://secret@h").credentials == Token("secret")


@pytest.mark.parametrize(
    "url", ["http://a", "nats://", "nats://a:x", "nats://a:1/b", "nats://a?b", ""]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a server is a URL"):
        parse_url(url)


def test_several_urls_in_one_are_refused_as_what_they_are() -> None:
    with pytest.raises(ValueError, match="give several one by one"):
        parse_url("nats://a:4222,nats://me:secret@b:4222")


def test_a_url_that_is_refused_does_not_show_its_password() -> None:
    with pytest.raises(ValueError, match="host:1/path") as caught:
        parse_url("nats://me:secret@host:1/path")
    assert "secret" not in str(caught.value)


def test_the_pool_is_tried_around_and_never_without_a_server() -> None:
    pool = Pool(["a:1", "b:2", "a:1"], random.Random(1))
    assert sorted(str(pool.next()) for _ in range(4)) in (["a:1", "a:1", "b:2", "b:2"],)
    with pytest.raises(ValueError, match="at least"):
        Pool([], random.Random(1))


def test_the_cluster_adds_and_removes_servers_but_not_those_that_were_given() -> None:
    pool = Pool("a:1", random.Random(1))
    current = pool.next()
    pool.discovered(["a:1", "b:2", "c:3", "not a url at all:"], current)
    assert {str(each) for each in pool.places} == {"a:1", "b:2", "c:3"}
    assert str(pool.places[-1]) == "a:1"
    pool.discovered(["c:3", "d:4"], current)
    assert {str(each) for each in pool.places} == {"a:1", "c:3", "d:4"}
    pool.discovered([], current)
    assert {str(each) for each in pool.places} == {"a:1"}


# -- the outbox


def test_the_outbox_is_bounded_by_bytes_and_takes_one_that_is_larger_alone() -> None:
    outbox = Outbox(10)
    assert outbox.has_room(100)
    outbox.put(b"PUB a 1\r\n")
    assert outbox.has_room(1)
    assert not outbox.has_room(2)
    assert outbox.take() == b"PUB a 1\r\n"
    assert not outbox.has_room(2)
    outbox.written()
    assert outbox.has_room(2)
    assert outbox.size == 0


def test_what_was_not_written_whole_comes_first_after_a_break() -> None:
    outbox = Outbox(1000)
    commands = [b"PUB a 1\r\nx\r\n", b"SUB b 1\r\n", b"HPUB c 1 2\r\nxy\r\n", b"PUB d 0\r\n\r\n"]
    for command in commands:
        outbox.put(command)
    outbox.take()
    outbox.put(b"PING\r\n")
    outbox.put(b"PUB e 0\r\n\r\n")
    outbox.broken(len(commands[0]) + len(commands[1]) + 3)
    assert outbox.take() == commands[2] + commands[3] + b"PUB e 0\r\n\r\n"
    outbox.written()
    assert outbox.size == 0


def test_what_was_written_to_its_last_byte_is_not_written_again() -> None:
    outbox = Outbox(1000)
    commands = [b"PUB a 1\r\nx\r\n", b"PUB b 1\r\nx\r\n"]
    for command in commands:
        outbox.put(command)
    outbox.take()
    outbox.broken(len(commands[0]))
    assert outbox.take() == commands[1]


def test_one_write_is_bounded() -> None:
    outbox = Outbox(1 << 30)
    piece = b"PUB a 1\r\n" + bytes(MOST_AT_ONCE // 2)
    for _ in range(5):
        outbox.put(piece)
    sizes = []
    while outbox:
        sizes.append(len(outbox.take()))
        outbox.written()
    assert sizes == [len(piece)] * 5
    assert outbox.size == 0


def test_messages_that_a_server_does_not_take_are_taken_out() -> None:
    outbox = Outbox(1000)
    outbox.put(b"PUB a 3\r\nabc\r\n")
    outbox.put(b"PUB b r 4\r\nabcd\r\n")
    outbox.put(b"HPUB c 1 5\r\nabcde\r\n")
    assert outbox.remove_larger(3) == [("b", 4), ("c", 5)]
    assert outbox.drop() == 1
    assert outbox.size == 0


# -- credentials


def test_credentials_do_not_show_their_secrets() -> None:
    assert "hidden" not in repr(UserPassword("me", "hidden"))
    assert "hidden" not in repr(Token("hidden"))


@pytest.mark.parametrize("seed", ["", "SUnonsense", "nonsense", "SU" + "A" * 20])
def test_what_is_no_seed_is_refused_without_showing_it(seed: str) -> None:
    with pytest.raises(ValueError, match="seed") as caught:
        NKey(seed)
    assert not seed or seed not in str(caught.value)


def test_a_file_of_credentials_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none.creds"):
        CredentialsFile(tmp_path / "none.creds")
    file = tmp_path / "bad.creds"
    file.write_text("-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n")
    file.chmod(stat.S_IRUSR)
    with pytest.raises(ValueError, match="not both"):
        CredentialsFile(file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outbox": 0},
        {"ping_every": 0.0},
        {"backoff": 3.0},
        {"patience": -1.0},
        {"patience": float("nan")},
        {"pings_unanswered": 0},
        {"connect_within": float("inf")},
    ],
)
def test_settings_reject_nonsense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]
