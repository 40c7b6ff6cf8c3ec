"""The vectors of queries: shared, kept, waited for so long and no longer; and what an embedder
costs that is slow, away or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BusyError, CidxError, EmbedderError, InternalError
from cidx_ref.index import asking
from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime, Thread
from cidx_ref.testing.clock import FakeRuntime

TIMEOUT_S = 15.0
QUERY = "retry disconnect"


class Odd(HashingEmbedder):
    """The default, but for what becomes of a query."""

    def __init__(self, answer: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.answer = answer

    def embed_query(self, text: str) -> Any:
        self.asked.append(text)
        return super().embed_query(text) if self.answer is None else self.answer(text)


class Held(Odd):
    """One that answers once it is `freed`."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.freed = SYSTEM.event("entered"), SYSTEM.event("freed")

    def embed_query(self, text: str) -> Any:
        self.entered.set()
        assert self.freed.wait(TIMEOUT_S)
        return super().embed_query(text)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.freed.set()


def in_threads(count: int, call: Callable[[], Any]) -> Callable[[], list[Any]]:
    """Do it in threads at once; what returns gives what came of each."""
    came: list[Any] = []

    def run() -> None:
        try:
            came.append(call())
        except Exception as error:
            came.append(error)

    threads = [SYSTEM.thread(run, "reader") for _ in range(count)]

    def join() -> list[Any]:
        for thread in threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
        return came

    return join


def until(holds: Callable[[], bool]) -> None:
    """Wait for other threads to get there."""
    deadline = SYSTEM.monotonic() + TIMEOUT_S
    while not holds():
        assert SYSTEM.monotonic() < deadline
        SYSTEM.sleep(0.001)


# One text, asked for by many.


def test_equal_queries_at_once_are_one_question(held: Held) -> None:
    vectors = QueryVectors(held)
    join = in_threads(10, lambda: vectors.vector(QUERY, TIMEOUT_S))
    until(lambda: sum(each.waiting for each in vectors._flights.values()) == 10)
    held.freed.set()
    came = join()
    assert held.asked == [QUERY]
    wanted = HashingEmbedder().embed_query(QUERY)
    assert all((each == wanted).all() for each in came)


def test_a_query_does_not_wait_for_another_text(held: Held) -> None:
    vectors = QueryVectors(held)
    join = in_threads(1, lambda: vectors.vector("one", TIMEOUT_S))
    assert held.entered.wait(TIMEOUT_S)
    held.entered.clear()
    joined = in_threads(1, lambda: vectors.vector("other", TIMEOUT_S))
    assert held.entered.wait(TIMEOUT_S), "it waits for the first"
    held.freed.set()
    assert [len(each) for each in (*join(), *joined())] == [512, 512]


def test_some_hundred_vectors_are_kept_the_last_used_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 100 <= asking._MAX_KEPT <= 1000
    monkeypatch.setattr(asking, "_MAX_KEPT", 2)
    embedder = Odd()
    vectors = QueryVectors(embedder)
    for text in ("a", "b", "a", "c", "a", "c", "b"):
        vectors.embed_query(text)
    assert embedder.asked == ["a", "b", "c", "b"]
    assert [vectors.is_at_hand(text) for text in "abc"] == [False, True, True]


def test_what_is_kept_cannot_be_changed() -> None:
    made = np.ones(512, np.float32)
    vectors = QueryVectors(Odd(lambda text: made))
    kept = vectors.embed_query("a")
    made[0] = 5
    with pytest.raises(ValueError):
        kept[0] = 7
    assert vectors.embed_query("a").max() == 1


def test_the_default_needs_no_thread_and_keeps_nothing() -> None:
    class NoThreads(Runtime):
        def thread(self, target: Callable[[], object], name: str) -> Thread:
            raise AssertionError(name)

    vectors = QueryVectors(HashingEmbedder(), NoThreads())
    assert vectors.is_at_hand("a")
    assert vectors.embed_query("a").any()
    assert not vectors._kept


def test_all_that_an_embedder_says_of_itself_is_passed_on() -> None:
    embedder: Any = Odd()
    plain = QueryVectors(embedder)
    assert (plain.lexical, plain.costly, plain.collection) == (True, False, "")
    embedder.costly, embedder.collection, embedder.lexical = True, "voyage-code-3", False
    vectors = QueryVectors.of(QueryVectors.of(embedder))
    assert (vectors.id, vectors.dim) == (embedder.id, 512)
    assert (vectors.lexical, vectors.costly, vectors.collection) == (False, True, "voyage-code-3")
    assert vectors.embed_documents(["x y"]).shape == (1, 512)


# One that fails.


def fail(error: BaseException) -> Callable[[str], Any]:
    def raise_it(text: str) -> Any:
        raise error

    return raise_it


NAMED = "embedder lexical-hashing-512-v3: "
WRONG: list[tuple[str, Callable[[str], Any], str]] = [
    ("raises", fail(OSError(13, "no", "/home/me/sk-key")), "PermissionError; see daemon.log"),
    ("says why", fail(EmbedderError("the service is away")), "the service is away"),
    ("refuses", fail(BusyError("later")), "later"),
    ("panics", fail(SystemExit("/home/me")), "SystemExit; see daemon.log"),
    ("too short", lambda text: np.ones(3), r"a vector of shape \(3,\), not \(512,\)"),
    ("a row", lambda text: np.ones((1, 512)), r"a vector of shape \(1, 512\), not \(512,\)"),
    ("nothing", lambda text: None, "something else than numbers"),
    ("words", lambda text: "vector", "something else than numbers"),
    ("numbers in words", lambda text: ["1.5"] * 512, "something else than numbers"),
    ("truths", lambda text: np.ones(512, bool), "something else than numbers"),
    ("nan", lambda text: np.full(512, np.nan), "a vector that is not finite"),
    ("infinite", lambda text: np.full(512, np.inf), "a vector that is not finite"),
]


@pytest.mark.promise("QRY-3", "RPC-2")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("answer", "why"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_an_embedder_that_is_wrong_costs_its_own_half_and_is_named(
    project: Project, answer: Callable[[str], Any], why: str
) -> None:
    embedder = Odd(answer)
    service = CIDXDaemonService(project.root, embedder=embedder)
    try:
        root = str(project.root)
        found = service.exposed_query_hybrid(root, QUERY)
        assert found["results"][0]["path"] == "net/retry.py"
        assert list(found["unavailable"]) == ["semantic"]
        with pytest.raises(CidxError, match=rf"^(?:{NAMED})?{why}$") as one:
            service.exposed_query(root, QUERY)
        assert found["unavailable"]["semantic"] == str(one.value)
        assert "/home" not in str(one.value)
        assert "unavailable" not in service.exposed_query_fts(root, QUERY)
        embedder.answer = None  # what has failed is not kept
        assert "unavailable" not in service.exposed_query_hybrid(root, QUERY)
        assert service.exposed_query(root, QUERY)["results"][0]["path"] == "net/retry.py"
    finally:
        service.exposed_clear_cache()


def test_equal_queries_share_an_error_each_with_one_of_its_own() -> None:
    entered, freed = SYSTEM.event("entered"), SYSTEM.event("freed")

    def answer(text: str) -> Any:
        entered.set()
        freed.wait(TIMEOUT_S)
        raise RuntimeError

    vectors = QueryVectors(Odd(answer))
    join = in_threads(3, lambda: vectors.vector("a", TIMEOUT_S))
    until(lambda: sum(each.waiting for each in vectors._flights.values()) == 3)
    freed.set()
    came = join()
    assert {type(each) for each in came} == {InternalError}
    assert len({id(each) for each in came}) == 3, "a traceback would grow for ever"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_query_is_answered_also_where_its_embedder_cannot_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "failure", fail(RuntimeError("no id any more")))
    vectors = QueryVectors(Odd(fail(ValueError())))
    with pytest.raises(InternalError, match=r"^the embedder failed; see daemon\.log$"):
        vectors.vector("a", TIMEOUT_S)


def test_where_no_thread_can_be_had_the_next_query_tries_again() -> None:
    class Few(Runtime):
        left = 0

        def thread(self, target: Callable[[], object], name: str) -> Thread:
            if not self.left:
                raise RuntimeError("can't start new thread")
            return super().thread(target, name)

    runtime = Few()
    vectors = QueryVectors(Odd(), runtime)
    with pytest.raises(RuntimeError):
        vectors.vector("a", TIMEOUT_S)
    runtime.left = 1
    assert vectors.vector("a", TIMEOUT_S).any()


# One that is slow.


@pytest.mark.promise("QRY-3")
def test_a_hybrid_query_waits_so_long_for_its_vector_and_says_what_it_did_without(
    project: Project, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asking.BESIDE_S <= 5
    monkeypatch.setattr("cidx_ref.index.engines.BESIDE_S", 0.01)
    service = CIDXDaemonService(project.root, embedder=held)
    try:
        ask = partial(service.exposed_query_hybrid, str(project.root), QUERY)
        for _ in range(2):
            found = ask()
            assert found["results"][0]["path"] == "net/retry.py"
            said = found["unavailable"]["semantic"]
            assert said == "embedder lexical-hashing-512-v3: no answer within 0.01 s"
        assert held.asked == [], "it waits, and the second query with it"
        held.freed.set()
        until(lambda: "unavailable" not in ask())
        assert held.asked == [QUERY], "what came too late for the one is there for the next"
    finally:
        service.exposed_clear_cache()


@pytest.mark.promise("QRY-3")
def test_a_semantic_query_that_has_no_vector_in_time_is_one_clear_error(
    project: Project, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asking.BESIDE_S < asking.ALONE_S <= 60
    monkeypatch.setattr("cidx_ref.index.engines.ALONE_S", 0.01)
    service = CIDXDaemonService(project.root, embedder=held)
    try:
        with pytest.raises(EmbedderError, match=r"no answer within 0\.01 s"):
            service.exposed_query(str(project.root), QUERY)
    finally:
        held.freed.set()
        service.exposed_clear_cache()


def test_an_embedder_that_hangs_is_asked_no_more(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = QueryVectors(held)
    for number in range(asking._MAX_ABANDONED):
        with pytest.raises(EmbedderError, match="no answer within"):
            vectors.vector(str(number), 0.0)
    with pytest.raises(EmbedderError, match="has not answered 16 earlier queries yet"):
        vectors.vector("one more", TIMEOUT_S)
    assert len(vectors._flights) == asking._MAX_ABANDONED
    held.freed.set()
    until(lambda: not vectors._flights)
    assert vectors.vector("one more", TIMEOUT_S).any()


class Down:
    """A service that keeps each query waiting for so long, on a clock of the test's own."""

    def __init__(self, waits_s: float = 1.5) -> None:
        self.runtime = FakeRuntime()
        self.waits_s = waits_s
        self.is_up = False
        self.embedder = Odd(self.answer)
        self.vectors = QueryVectors(self.embedder, self.runtime)

    def answer(self, text: str) -> Any:
        if self.is_up:
            return np.ones(512)
        self.runtime.advance(self.waits_s)
        raise EmbedderError("the service: cannot be reached")

    def ask(self, text: str) -> str:
        """What comes of a query: "" if it has its vector."""
        try:
            self.vectors.vector(text, TIMEOUT_S)
        except EmbedderError as error:
            return str(error)
        return ""


@pytest.mark.promise("QRY-3")
def test_a_service_that_is_down_is_left_alone_for_some_seconds_and_then_asked_once() -> None:
    down = Down()
    for number in range(asking._IN_VAIN):
        assert down.ask(f"a{number}") == "the service: cannot be reached"
    asked = len(down.embedder.asked)
    for number in range(5):
        assert down.ask(f"b{number}") == (
            f"embedder {down.embedder.id}: 3 queries in a row have waited in vain "
            "(the service: cannot be reached): not asked for 10 s"
        )
    assert len(down.embedder.asked) == asked, "at once, and without it"
    down.runtime.advance(asking._REST_S - 0.5)
    assert "not asked for 1 s" in down.ask("c")
    down.runtime.advance(0.5)
    assert down.ask("d") == "the service: cannot be reached", "one asks"
    assert "4 queries in a row" in down.ask("e"), "and as that failed, no other"
    down.runtime.advance(asking._REST_S)
    down.is_up = True
    assert [down.ask(each) for each in "fgh"] == ["", "", ""]
    down.is_up = False
    assert down.ask("i") == "the service: cannot be reached", "it counts from the beginning"
    assert down.ask("f") == "", "what is kept needs nobody"


def test_one_alone_asks_while_others_do_not_wait_for_what_comes_of_it() -> None:
    down = Down()
    for number in range(asking._IN_VAIN):
        down.ask(str(number))
    down.runtime.advance(asking._REST_S)
    meanwhile: list[str] = []
    once = down.answer

    def answer(text: str) -> Any:
        meanwhile.extend((down.ask("another"), down.ask(text)))
        return once(text)

    down.embedder.answer = answer
    assert down.ask("first") == "the service: cannot be reached"
    assert ["not asked for 10 s" in each for each in meanwhile] == [True, True]


@pytest.mark.parametrize("what", ["fails at once", "answers in between"])
def test_an_embedder_that_costs_no_waiting_is_asked_each_time(what: str) -> None:
    down = Down(0.0 if what == "fails at once" else 1.5)
    for number in range(4 * asking._IN_VAIN):
        down.is_up = what == "answers in between" and number % asking._IN_VAIN == 2
        assert down.ask(str(number)) in ("", "the service: cannot be reached")
    assert len(down.embedder.asked) == 4 * asking._IN_VAIN


def test_queries_that_wait_for_one_answer_are_one_and_one_that_comes_late_counts(
    held: Held,
) -> None:
    class Hasty(FakeRuntime):
        """Whoever waits has waited."""

        def monotonic(self) -> float:
            self.advance(1.0)
            return super().monotonic()

    vectors = QueryVectors(held, Hasty())
    for _ in range(2 * asking._IN_VAIN):
        with pytest.raises(EmbedderError, match=r"no answer within 0 s$"):
            vectors.vector("the same", 0.0)
    for text in "ab":
        with pytest.raises(EmbedderError, match=r"no answer within 0 s$"):
            vectors.vector(text, 0.0)
    with pytest.raises(EmbedderError, match=r"waited in vain \(no answer within 0 s\): not asked"):
        vectors.vector("c", 0.0)
    held.freed.set()
    until(lambda: not vectors._flights)
    assert vectors.vector("c", TIMEOUT_S).any()


def test_those_that_wait_are_no_reason_to_refuse_another(held: Held) -> None:
    vectors = QueryVectors(held)
    many = 2 * asking._MAX_ABANDONED
    joins = [in_threads(1, partial(vectors.vector, str(n), TIMEOUT_S)) for n in range(many)]
    until(lambda: len(vectors._flights) == many)
    held.freed.set()
    assert all(len(join()[0]) == 512 for join in joins)


@pytest.mark.promise("PERF-3", "RPC-4", "QRY-3")
def test_ten_readers_of_full_text_beside_a_slow_embedder_do_not_wait_for_it(
    project: Project, held: Held
) -> None:
    """By what they wait for, and not by a clock: the embedder answers when they are done."""
    service = CIDXDaemonService(project.root, embedder=held)
    try:
        root = str(project.root)
        slow = [
            in_threads(1, partial(ask, root, f"retry {n}"))
            for ask in (service.exposed_query, service.exposed_query_hybrid)
            for n in range(5)
        ]
        assert held.entered.wait(TIMEOUT_S)
        came = in_threads(10, partial(service.exposed_query_fts, root, QUERY))()
        assert [found["results"][0]["path"] for found in came] == ["net/retry.py"] * 10
        assert service.exposed_query_literal(root, "retry")["results"]
        assert held.asked == []
        held.freed.set()
        for join in slow:
            (answer,) = join()
            assert "unavailable" not in answer
    finally:
        held.freed.set()
        service.exposed_clear_cache()


# The time of it.


@pytest.mark.promise("PERF-1", "OBS-1")
def test_an_answer_says_for_how_long_it_waited_for_its_vector(project: Project) -> None:
    runtime = FakeRuntime()

    def slow(text: str) -> Any:
        runtime.advance(0.25)
        return HashingEmbedder().embed_query(text)

    service = CIDXDaemonService(project.root, embedder=Odd(slow), runtime=runtime)
    try:
        root = str(project.root)
        for ask in (service.exposed_query, service.exposed_query_hybrid):
            first, again = ask(root, f"retry {ask.__name__}"), ask(root, f"retry {ask.__name__}")
            assert (first["embedding_ms"], again["embedding_ms"]) == (250.0, 0.0)
            assert first["took_ms"] == 250.0
        for ask in (service.exposed_query_fts, service.exposed_query_literal):
            assert "embedding_ms" not in ask(root, "retry")
    finally:
        service.exposed_clear_cache()


def test_a_publish_costs_no_query_its_vector(project: Project) -> None:
    embedder = Odd()
    service = CIDXDaemonService(project.root, embedder=embedder)
    try:
        for _ in range(2):
            service.exposed_query(str(project.root), QUERY)
            service.exposed_clear_cache()
        assert embedder.asked == [QUERY]
    finally:
        service.exposed_clear_cache()
