"""Vectors from a service: what it is asked, what is believed of its answers, what is tried again,
and where the key goes."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import ssl
import traceback
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from fake_service import DIM, KEYS, FakeService, fake_service

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, ConfigError, EmbedderError
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.embedders import VARIABLE, collection_of, configured, service
from cidx_ref.index.embedders.service import ServiceEmbedder
from cidx_ref.index.embedders.settings import Settings
from cidx_ref.index.embedders.web import Endpoint, Key, Proxy, Web
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime

pytestmark = pytest.mark.once

SECRET = "sk-very-secret-0123456789"
TEXTS = ["a.py retry\ndef retry(): pass", "b.py peer\nthe peer is gone", "c.py x\nx = 1"]


class Pauses(FakeRuntime):
    """Notes for how long it sleeps, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        super().sleep(seconds)


@pytest.fixture
def fake_web() -> Iterator[FakeService]:
    with fake_service() as made:
        yield made


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, fake_web: FakeService) -> pytest.MonkeyPatch:
    """The environment of a user of the fake service."""
    clear(monkeypatch)
    monkeypatch.setenv(VARIABLE, "http")
    monkeypatch.setenv("CIDX_REF_EMBEDDER_URL", fake_web.url)
    monkeypatch.setenv("CIDX_REF_EMBEDDER_MODEL", "voyage-code-3")
    monkeypatch.setenv("CIDX_REF_EMBEDDER_DIM", str(DIM))
    monkeypatch.setenv("CIDX_REF_EMBEDDER_KEY", SECRET)
    return monkeypatch


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, *(f"CIDX_REF_EMBEDDER_{n}" for n in ("API", "DIM", "MODEL", "URL")),
                 "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def embedder(settings: Any, pauses: Pauses) -> Iterator[ServiceEmbedder]:
    chosen = Settings.of_environment()
    web = Web(chosen.endpoint, chosen.key, chosen.proxy, pauses)
    yield ServiceEmbedder(chosen, web, pauses, lambda: 1.0)
    web.close()


# What is asked.


def test_a_service_is_asked_as_its_api_has_it(
    embedder: ServiceEmbedder, fake_web: FakeService
) -> None:
    found = embedder.embed_documents(TEXTS)
    assert (found == HashingEmbedder(DIM).embed_documents(TEXTS)).all()
    query = embedder.embed_query("retry the peer")
    assert query.shape == (DIM,)
    documents, one = fake_web.asked
    assert documents.path == one.path == "/v1/embeddings"
    assert documents.headers["authorization"] == f"Bearer {SECRET}"
    assert documents.headers["content-type"] == "application/json"
    assert documents.headers["host"] == fake_web.url.split("/")[2]
    wanted = {"input": TEXTS, "model": "voyage-code-3", "input_type": "document"}
    assert documents.body == {**wanted, "output_dimension": DIM}
    assert (one.body["input"], one.body["input_type"]) == (["retry the peer"], "query")
    assert len(fake_web.connections) == 1, "a connection is kept"
    assert not embedder.embed_query(" \n").any()
    assert embedder.embed_documents([]).shape == (0, DIM)
    assert len(fake_web.asked) == 2, "nothing is asked of nothing"


def test_a_service_of_the_other_kind_is_asked_as_that_has_it(
    settings: pytest.MonkeyPatch, fake_web: FakeService
) -> None:
    settings.setenv("CIDX_REF_EMBEDDER_MODEL", "nomic-embed-text:v1.5")
    settings.delenv("CIDX_REF_EMBEDDER_KEY")
    made: Any = configured()
    assert made.embed_query("retry").shape == (DIM,)
    made._web.close()
    (asked,) = fake_web.asked
    assert asked.body == {"input": ["retry"], "model": "nomic-embed-text:v1.5"}
    assert "authorization" not in asked.headers
    assert (made.id, made.dim) == ("openai-nomic-embed-text:v1.5-64@127.0.0.1", DIM)
    assert collection_of(made) == "nomic-embed-text_v1.5"


def test_texts_go_in_batches_by_number_and_by_size(
    embedder: ServiceEmbedder, fake_web: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_MAX_TEXTS", 3)
    monkeypatch.setattr(service, "_MAX_BYTES", 10)
    texts = ["a", "b", "c", "d", "eeeeeeee", "ff", "g", "ö" * 20, "h"]
    found = embedder.embed_documents(texts)
    batches = [asked.body["input"] for asked in fake_web.asked]
    assert batches == [["a", "b", "c"], ["d", "eeeeeeee"], ["ff", "g"], ["ö" * 20], ["h"]]
    assert (found == HashingEmbedder(DIM).embed_documents(texts)).all()


def test_what_is_too_much_for_a_service_is_asked_in_halves_and_a_text_is_cut(
    embedder: ServiceEmbedder, fake_web: FakeService
) -> None:
    fake_web.most_texts = 2
    found = embedder.embed_documents([*TEXTS, *TEXTS])
    assert (found == HashingEmbedder(DIM).embed_documents([*TEXTS, *TEXTS])).all()
    fake_web.asked.clear()
    fake_web.most_chars = 2500
    long = "word " * 2000
    (vector,) = embedder.embed_documents([long])
    assert [len(asked.body["input"][0]) for asked in fake_web.asked] == [10_000, 5000, 2500]
    assert (vector == HashingEmbedder(DIM).embed_documents([long[:2500]])[0]).all()
    fake_web.most_chars = 0
    with pytest.raises(EmbedderError, match=r"refuses the request \(status 400\)$"):
        embedder.embed_query("retry")


def test_a_text_without_an_end_and_half_a_character_are_taken(
    embedder: ServiceEmbedder, fake_web: FakeService
) -> None:
    embedder.embed_documents(["\ud800 retry", "x" * 1_000_000])
    assert [len(each) for each in fake_web.asked[0].body["input"]] == [7, 24_000]
    assert fake_web.asked[0].body["input"][0] == "? retry"


# What is tried again, and for how long.


AGAIN = ["status 429", "status 500", "status 503", "half", "truncated", "text", "deep", "gone",
         "nohttp"]  # fmt: skip


@pytest.mark.parametrize("fault", AGAIN)
def test_what_may_pass_is_tried_again_later_and_later(
    embedder: ServiceEmbedder, fake_web: FakeService, pauses: Pauses, fault: str
) -> None:
    fake_web.faults = [fault] * 4
    found = embedder.embed_documents(TEXTS)
    assert (found == HashingEmbedder(DIM).embed_documents(TEXTS)).all()
    assert pauses.pauses == [0.5, 1.0, 2.0, 4.0]
    assert len(fake_web.asked) == 5


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("fault", AGAIN)
def test_a_service_that_does_not_come_back_is_given_up(
    embedder: ServiceEmbedder, fake_web: FakeService, pauses: Pauses, fault: str
) -> None:
    fake_web.faults = [fault] * 99
    with pytest.raises(EmbedderError, match=r"^the service: .*\(3 tries\)$") as failed:
        embedder.embed_query("retry")
    assert_no_secret(failed.value)
    assert pauses.pauses == [0.5, 1.0]
    pauses.pauses.clear()
    with pytest.raises(EmbedderError, match=r"\(8 tries\)$"):
        embedder.embed_documents(TEXTS)
    assert pauses.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0]


def test_pauses_are_not_the_same_for_all(
    settings: Any, pauses: Pauses, fake_web: FakeService
) -> None:
    chosen = Settings.of_environment()
    lots = iter([0.0, 0.5, 1.0, 0.25])
    web = Web(chosen.endpoint, chosen.key, runtime=pauses)
    made = ServiceEmbedder(chosen, web, pauses, lambda: next(lots))
    fake_web.faults = ["status 500", "status 500", "status 429 7", "status 429 0"]
    made.embed_documents(TEXTS)
    web.close()
    assert pauses.pauses == [0.25, 0.75, 7.5, 0.125]


def test_a_service_says_how_long_it_wants_to_be_left_alone(
    embedder: ServiceEmbedder, fake_web: FakeService, pauses: Pauses
) -> None:
    fake_web.faults = ["status 429 30", "status 503 0", "status 429 soon"]
    embedder.embed_documents(TEXTS)
    assert pauses.pauses == [30.5, 0.5, 2.0]
    pauses.pauses.clear()
    at = pauses.now().astimezone().timestamp() + 12
    fake_web.faults = [f"status 429 {formatdate(at, usegmt=True)}", "status 429 -5"]
    embedder.embed_documents(TEXTS)
    assert pauses.pauses[0] == pytest.approx(12.5, abs=1)
    fake_web.faults = ["status 429 86400"]
    with pytest.raises(EmbedderError, match="wants 86400 s of rest"):
        embedder.embed_documents(TEXTS)
    fake_web.faults = ["status 429 60"]
    with pytest.raises(EmbedderError, match="wants 60 s of rest"):  # longer than a query waits
        embedder.embed_query("retry")


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize(("fault", "patience_s"), [("slow", 0.05), ("dripping", 0.3)])
def test_a_slow_service_has_so_long_and_no_longer(
    settings: Any, fake_web: FakeService, fault: str, patience_s: float
) -> None:
    settings.setattr(service, "_OF_QUERY", service._Patience(patience_s, 10.0, 1))
    fake_web.faults = [fault]
    made: Any = configured()
    with pytest.raises(EmbedderError, match=rf"no answer within {patience_s} s \(1 tries\)"):
        made.embed_query("retry")
    made._web.close()


def test_half_an_answer_is_said_to_be_one(embedder: ServiceEmbedder, fake_web: FakeService) -> None:
    fake_web.faults = ["half"] * 3
    with pytest.raises(EmbedderError, match="it ends in the middle of its answer"):
        embedder.embed_query("retry")


def test_the_last_answer_of_a_connection_is_read_to_its_end(
    embedder: ServiceEmbedder, fake_web: FakeService, pauses: Pauses
) -> None:
    fake_web.faults = ["closing"] * 3
    for _ in range(3):
        found = embedder.embed_documents(TEXTS)
        assert (found == HashingEmbedder(DIM).embed_documents(TEXTS)).all()
    assert (len(fake_web.connections), pauses.pauses, embedder._web._idle) == (3, [], [])


@pytest.mark.parametrize("fault", ["endless", "huge"])
def test_an_answer_that_does_not_end_is_not_read_to_its_end(
    embedder: ServiceEmbedder, fake_web: FakeService, fault: str
) -> None:
    fake_web.faults = [fault]
    most = (1 << 20) + DIM * 40
    with pytest.raises(EmbedderError, match=f"more than {most} bytes"):
        embedder.embed_query("retry")
    assert len(fake_web.asked) == 1


def test_a_piece_of_a_length_below_zero_is_not_read_to_its_end(
    embedder: ServiceEmbedder, fake_web: FakeService
) -> None:
    fake_web.faults = ["backward -1"]
    with pytest.raises(EmbedderError, match=r"^the service: it answers with more than was asked"):
        embedder.embed_query("retry")
    assert len(fake_web.asked) == 1


def test_a_piece_of_a_length_below_zero_is_no_answer(
    embedder: ServiceEmbedder, fake_web: FakeService
) -> None:
    fake_web.faults = ["backward -5"] * 3
    with pytest.raises(EmbedderError, match=r"^the service: .* with something else than HTTP"):
        embedder.embed_query("retry")
    assert len(fake_web.asked) == 3


def test_nobody_there_is_said(embedder: ServiceEmbedder, fake_web: FakeService) -> None:
    with fake_service() as other:
        url = other.url
    end = Endpoint(False, "127.0.0.1", int(url.split(":")[2].split("/")[0]), "/")
    with pytest.raises(EmbedderError, match="cannot be reached: Connection refused"):
        Web(end, None).post(b"", 1.0, 10)


def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    embedder: ServiceEmbedder, fake_web: FakeService, pauses: Pauses
) -> None:
    embedder.embed_query("one")
    fake_web.faults = ["gone"]
    embedder.embed_query("two")
    assert (pauses.pauses, len(fake_web.connections)) == ([], 2)
    pauses.advance(31)
    embedder.embed_query("three")
    assert len(fake_web.connections) == 3, "what has waited for long is not trusted"


def test_many_threads_have_a_connection_each_and_few_are_kept(
    embedder: ServiceEmbedder, fake_web: FakeService
) -> None:
    made: list[Any] = []
    fake_web.faults = ["slow"] * 8
    threads = [
        SYSTEM.thread(lambda n=n: made.append(embedder.embed_query(f"retry {n}")), "asker")  # type: ignore[misc]
        for n in range(8)
    ]
    deadline = SYSTEM.monotonic() + 20
    while len(fake_web.asked) < 8 and SYSTEM.monotonic() < deadline:
        SYSTEM.sleep(0.001)
    fake_web.freed.set()
    for thread in threads:
        thread.join(20)
    assert (len(made), len(fake_web.connections)) == (8, 8)
    assert len(embedder._web._idle) == 4


# What is believed.


@pytest.mark.parametrize("fault", ["backwards", "unnumbered"])
def test_vectors_are_those_of_the_texts_whatever_their_order(
    embedder: ServiceEmbedder, fake_web: FakeService, fault: str
) -> None:
    fake_web.faults = [fault]
    found = embedder.embed_documents(TEXTS)
    assert (found == HashingEmbedder(DIM).embed_documents(TEXTS)).all()


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("list", "something else than vectors"),
        ("empty", "something else than vectors"),
        ("words", "something else than vectors"),
        ("fewer", "2 vectors for 3 texts"),
        ("more", "4 vectors for 3 texts"),
        ("shorter", "something else than vectors"),
        ("short", r"its vectors have 63 dimensions, not 64 \(see CIDX_REF_EMBEDDER_DIM\)"),
        ("twice", "not of the texts that it was given"),
        ("outside", "not of the texts that it was given"),
        ("oddly", "not of the texts that it was given"),
        ("truly", "not of the texts that it was given"),
        ("nan", "numbers that are not finite"),
        ("infinite", "numbers that are not finite"),
        ("large", "numbers that are not finite"),
        ("null", "something else than vectors|not finite"),
        ("string", "something else than vectors"),
        ("number", "something else than vectors"),
        ("truth", "something else than vectors"),
        ("numbers", "something else than vectors"),
        ("truths", "something else than vectors"),
        ("nested", "something else than vectors"),
        ("redirect", r"sends to another address \(307\), which is not followed"),
        ("redirect 302", "sends to another address"),
        ("status 401", r"the key in CIDX_REF_EMBEDDER_KEY is not taken \(401\)"),
        ("status 403", "is not taken"),
        ("status 404", "no such address, or no such model"),
        ("status 418", "status 418"),
        ("status 201", "status 201"),
    ],
)
def test_a_wrong_answer_is_one_clear_error_and_is_not_asked_for_again(
    embedder: ServiceEmbedder, fake_web: FakeService, pauses: Pauses, fault: str, why: str
) -> None:
    fake_web.faults = [fault]
    with pytest.raises(EmbedderError, match=f"^the service: .*(?:{why})") as failed:
        embedder.embed_documents(TEXTS)
    assert "\n" not in str(failed.value)
    assert_no_secret(failed.value)
    assert (len(fake_web.asked), pauses.pauses) == (1, [])
    assert embedder.embed_documents(TEXTS).shape == (3, DIM), "the next one is"


# Where the key goes.


def assert_no_secret(error: BaseException) -> None:
    told = "".join(traceback.format_exception(error))
    assert SECRET not in f"{error!r} {told}"


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize("fault", ["redirect 301", "redirect 302", "redirect 307", "redirect 308"])
def test_no_redirect_is_followed(
    embedder: ServiceEmbedder, fake_web: FakeService, fault: str
) -> None:
    with fake_service() as other:
        fake_web.elsewhere = f"{other.url}/embeddings"
        fake_web.faults = [fault]
        with pytest.raises(EmbedderError, match="not followed"):
            embedder.embed_query("retry")
        assert other.asked == []
    assert len(fake_web.asked) == 1


@pytest.mark.promise("TRUST-1", "OBS-3")
def test_the_key_is_in_no_message_log_or_status(
    settings: Any, fake_web: FakeService, project: Project, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(service, "_OF_QUERY", service._Patience(10.0, 25.0, 2))
    monkeypatch.setattr(service, "_FIRST_PAUSE_S", 0.0)
    caplog.set_level(logging.DEBUG)
    made: Any = configured()
    said = [repr(made), repr(made.__dict__), repr(made._settings), repr(vars(made._web)), made.id]
    with fake_service():
        daemon = CIDXDaemonService(project.root, embedder=made)
        bring_up_to_date(project, made)
        faults = ["status 401", "status 429", "status 500 0", "nohttp", "nan", "half", "words", ""]
        for number, fault in enumerate(faults):
            for ask in (daemon.exposed_query, daemon.exposed_query_hybrid):
                fake_web.faults = [fault] * 2
                try:
                    said.append(repr(ask(str(project.root), f"retry {number} {ask.__name__}")))
                except CidxError as error:
                    said += [repr(error), *traceback.format_exception(error)]
        reports = (daemon.exposed_get_status, daemon.exposed_get_diagnostics,
                   daemon.exposed_get_metrics, daemon.exposed_get_health)  # fmt: skip
        said += [repr(report()) for report in reports]
        daemon.exposed_clear_cache()
        made._web.close()
    assert fake_web.asked
    assert all(asked.headers["authorization"] == f"Bearer {SECRET}" for asked in fake_web.asked)
    assert "status 429" in caplog.text
    assert SECRET not in "".join([*said, caplog.text])


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize(
    "text", ["two words", "line\r\nX-Injected: 1", "k\u00e9y", "\x7f", "x" * 5000]
)
def test_what_is_no_key_is_named_by_its_variable_alone(
    settings: pytest.MonkeyPatch, text: str
) -> None:
    settings.setenv("CIDX_REF_EMBEDDER_KEY", text)
    with pytest.raises(ConfigError, match="CIDX_REF_EMBEDDER_KEY: not a key") as refused:
        configured()
    assert text not in str(refused.value)
    assert text[:20] not in "".join(traceback.format_exception(refused.value))


@pytest.mark.promise("TRUST-1")
def test_a_key_shows_itself_to_nobody() -> None:
    key = Key(f" {SECRET}\n")
    assert (repr(key), str(key), f"{key}") == ("<key>", "<key>", "<key>")
    assert key.header() == f"Bearer {SECRET}"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises((TypeError, AttributeError)):
        vars(key)


@pytest.mark.promise("TRUST-1")
def test_a_providers_own_key_goes_to_that_provider_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("VOYAGE_API_KEY", "voyage-key")
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")

    def chosen() -> tuple[str, str, str | None, int]:
        found = Settings.of_environment()
        key = found.key.header() if found.key is not None else None
        return found.endpoint.host, found.model, key, found.dim

    assert chosen() == ("api.voyageai.com", "voyage-code-3", "Bearer voyage-key", 1024)
    monkeypatch.setenv("CIDX_REF_EMBEDDER_API", "openai")
    assert chosen() == ("api.openai.com", "text-embedding-3-small", "Bearer openai-key", 1536)
    monkeypatch.setenv("CIDX_REF_EMBEDDER_MODEL", "text-embedding-3-large")
    monkeypatch.setenv("CIDX_REF_EMBEDDER_URL", "https://gateway.example/v1")
    with pytest.raises(ConfigError, match=r"^CIDX_REF_EMBEDDER_KEY: must hold the key"):
        chosen()
    monkeypatch.setenv("CIDX_REF_EMBEDDER_URL", "http://127.0.0.1:8080/v1")
    assert chosen() == ("127.0.0.1", "text-embedding-3-large", None, 3072)
    monkeypatch.setenv("CIDX_REF_EMBEDDER_KEY", "mine")
    monkeypatch.setenv("CIDX_REF_EMBEDDER_URL", "https://gateway.example/v1/embeddings/")
    assert chosen() == ("gateway.example", "text-embedding-3-large", "Bearer mine", 3072)
    assert Settings.of_environment().endpoint.path == "/v1/embeddings"


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("API", "cohere", "must be voyage or openai"),
        ("MODEL", "", "MODEL: must name a model"),
        ("MODEL", "a model", "must be the name of a model"),
        ("MODEL", "../x", "must be the name of a model"),
        ("DIM", "0", "whole number"),
        ("DIM", "99999999999", "whole number"),
        ("DIM", "\u0663", "whole number"),
        ("DIM", "1e3", "whole number"),
        ("URL", "http://example.com/v1", "must be https"),
        ("URL", "http://127.0.0.1.example.com/v1", "must be https"),
        ("URL", "http://localhost.example.com/v1", "must be https"),
        ("URL", "http://192.168.1.1/v1", "must be https"),
        ("URL", f"https://user:{SECRET}@example.com/", "must not hold a name or a password"),
        ("URL", f"https://{SECRET}@example.com/", "must not hold a name or a password"),
        ("URL", f"https://example.com/?key={SECRET}", "without anything behind the path"),
        ("URL", "https://example.com/v1 HTTP/1.1\r\nX: y", "."),
        ("URL", "https://exa mple.com/", "must be https://host/path"),
        ("URL", "ftp://example.com/", "must be https://host/path"),
        ("URL", "file:///etc/passwd", "must be https://host/path"),
        ("URL", "https://example.com:99999/", "is no address"),
        ("URL", "example.com", "must be"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(
    settings: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    settings.setenv(f"CIDX_REF_EMBEDDER_{name}", value)
    with pytest.raises(ConfigError, match=why) as refused:
        configured()
    assert f"{VARIABLE}: 'http': CIDX_REF_EMBEDDER_{name}" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.promise("TRUST-1")
def test_over_the_network_a_key_goes_by_tls_alone(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("CIDX_REF_EMBEDDER_URL", "http://service.example/v1")
    with pytest.raises(ConfigError, match="must be https, for it is not on this machine"):
        configured()
    settings.setenv("CIDX_REF_EMBEDDER_URL", "https://service.example/v1")
    assert Settings.of_environment().endpoint.is_tls


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]", "LOCALHOST"])
def test_on_this_machine_a_key_may_go_without_tls(settings: pytest.MonkeyPatch, host: str) -> None:
    settings.setenv("CIDX_REF_EMBEDDER_URL", f"http://{host}:8080/v1")
    assert Settings.of_environment().endpoint.is_loopback


def test_a_model_whose_length_is_not_known_wants_to_be_told(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("CIDX_REF_EMBEDDER_MODEL", "bge-m3")
    assert Settings.of_environment().dim == DIM
    settings.delenv("CIDX_REF_EMBEDDER_DIM")
    with pytest.raises(ConfigError, match="DIM: must be the length of the vectors of 'bge-m3'"):
        configured()
    settings.setenv("CIDX_REF_EMBEDDER_MODEL", "voyage-code-3")
    assert (Settings.of_environment().dim, Settings.of_environment().asks_dim) == (1024, False)


def test_a_proxy_is_the_users_and_for_what_is_far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("VOYAGE_API_KEY", SECRET)
    assert Settings.of_environment().proxy is None
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass%20word@proxy.example:3128")
    proxy = Settings.of_environment().proxy
    assert proxy is not None
    assert (proxy.host, proxy.port) == ("proxy.example", 3128)
    assert proxy.password is not None
    assert proxy.password.header("Basic") == "Basic bWU6cGFzcyB3b3Jk"
    assert "pass" not in repr(Settings.of_environment())
    monkeypatch.setenv("NO_PROXY", "other.example,.voyageai.com")
    assert Settings.of_environment().proxy is None
    monkeypatch.setenv("NO_PROXY", "")
    for bad in ("socks5://me:secret@proxy.example", "http://:secret@", "http://p:secret"):
        monkeypatch.setenv("HTTPS_PROXY", bad)
        with pytest.raises(ConfigError, match="HTTPS_PROXY: must be http://host:port") as refused:
            Settings.of_environment()
        assert "secret" not in "".join(traceback.format_exception(refused.value))
    monkeypatch.setenv("CIDX_REF_EMBEDDER_URL", "http://localhost:1/")
    monkeypatch.setenv("CIDX_REF_EMBEDDER_MODEL", "voyage-3")
    assert Settings.of_environment().proxy is None, "this machine is not far away"


class Tls:
    """In the place of TLS: says so in front of what goes through it, which is not secret here."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def wrap_socket(self, sock: Any, server_hostname: str) -> Any:
        self.names.append(server_hostname)
        return sock


def read(sock: socket.socket, end: bytes) -> bytes:
    """What comes until `end`, or until nothing does."""
    said = b""
    while not said.endswith(end) and (more := sock.recv(65_536)):
        said += more
    return said


@pytest.mark.promise("TRUST-1")
def test_a_proxy_sees_a_tunnel_and_no_key(fake_web: FakeService) -> None:
    proxied: list[bytes] = []
    place = fake_web.url.split("/")[2]
    answers = [b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n", b"HTTP/1.1 407 No\r\n\r\n",
               b""]  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            for answer in answers:
                sock, _ = listener.accept()
                with sock:
                    proxied.append(read(sock, b"\r\n\r\n"))
                    sock.sendall(answer)
                    if b" 200 " in answer:  # and all else goes through
                        host, port = place.split(":")
                        with socket.create_connection((host, int(port))) as there:
                            there.sendall(read(sock, b"}"))
                            there.shutdown(socket.SHUT_WR)
                            sock.sendall(read(there, b"\0"))

        thread = SYSTEM.thread(serve, "proxy")
        proxy = Proxy("127.0.0.1", listener.getsockname()[1], Key("cHJveHk="))
        tls: Any = Tls()
        end = Endpoint(True, "service.example", 443, "/v1/embeddings")
        web = Web(end, Key(SECRET), proxy, tls=tls)
        reply = web.post(json.dumps({"input": ["x"], "model": "m"}).encode(), 20.0, 1 << 20)
        assert reply.status == 200
        web.close()
        for _ in answers[1:]:
            with pytest.raises(EmbedderError, match="the proxy does not connect"):
                web.post(b"{}", 20.0, 1 << 20)
        thread.join(20)
    assert tls.names == ["service.example"]
    lines = b"CONNECT service.example:443 HTTP/1.1\r\nHost: service.example\r\n"
    assert proxied == [lines + b"Proxy-Authorization: Basic cHJveHk=\r\n\r\n"] * 3
    assert fake_web.asked[0].headers["host"] == "service.example"


def test_a_certificate_that_is_not_trusted_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tls: Any = Tls()

    def refused(sock: Any, server_hostname: str) -> Any:
        raise ssl.SSLCertVerificationError(1, f"/home/me {SECRET}")

    tls.wrap_socket = refused
    with fake_service() as there:
        end = Endpoint(True, "127.0.0.1", int(there.url.split(":")[2].split("/")[0]), "/")
        with pytest.raises(EmbedderError, match="not one to be trusted") as failed:
            Web(end, Key(SECRET), tls=tls).post(b"{}", 10.0, 100)
    assert SECRET not in str(failed.value)
    assert "home" not in str(failed.value)
    checks = Web(end, None)._tls
    assert checks is not None
    assert (checks.check_hostname, checks.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_certificates_that_cannot_be_read_are_one_line(
    settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.setenv("CIDX_REF_EMBEDDER_URL", "https://service.example/")
    settings.setattr(ssl, "create_default_context", (tmp_path / "gone").read_bytes)
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: these certificates cannot be read$"):
        configured()


def test_the_id_tells_models_and_lengths_apart(settings: pytest.MonkeyPatch) -> None:
    def made() -> str:
        return configured().id

    ids = [made()]
    settings.setenv("CIDX_REF_EMBEDDER_DIM", "128")
    ids.append(made())
    settings.setenv("CIDX_REF_EMBEDDER_MODEL", "voyage-3")
    ids.append(made())
    settings.setenv("CIDX_REF_EMBEDDER_API", "openai")
    ids.append(made())
    settings.setenv("CIDX_REF_EMBEDDER_URL", "https://service.example/v1")
    ids.append(made())
    assert len(set(ids)) == 5
    assert ids[0] == "voyage-voyage-code-3-64@127.0.0.1"
