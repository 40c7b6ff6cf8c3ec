"""Models in a directory of the user's: what comes of them, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_models import WORDS, sentence_model, static_model, write_tensors

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import ConfigError, EmbedderError
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embedders import VARIABLE, configured
from cidx_ref.index.embedders import model as model_module
from cidx_ref.index.embedders.model import MODEL
from cidx_ref.index.embedders.sentence import SentenceEmbedder
from cidx_ref.index.embedders.static import StaticEmbedder
from cidx_ref.index.embedders.tensors import Tensors
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import MakeProject

pytestmark = pytest.mark.once


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# The file of tensors, which needs no library.


def file_of(tmp_path: Path, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    write_tensors(tmp_path / "x.safetensors", tensors)
    return (tmp_path / "x.safetensors").read_bytes()


def test_tensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    single = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    data = file_of(
        tmp_path,
        {"a": single, "half": single.astype("<f2"), "n": np.array([2, 0, 1], "<i4"),
         "none": np.empty((0, 4), "<f4")},
    )  # fmt: skip
    found = Tensors(data)
    assert ("a" in found, "b" in found, found.shape("a")) == (True, False, (3, 4))
    assert (found.array("a", 3, 4) == single).all()
    assert found.array("half") == pytest.approx(single, rel=1e-3)
    assert found.places("n", 3, 3).tolist() == [2, 0, 1]
    assert found.array("none").shape == (0, 4)


def test_the_upper_half_of_a_number_is_read_as_one() -> None:
    single = np.array([1.5, -2.0, 3.14159], "<f4")
    upper = (single.view("<u4") >> 16).astype("<u2").tobytes()
    header = {"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}
    text = json.dumps(header).encode()
    found = Tensors(len(text).to_bytes(8, "little") + text + upper).array("a", 3)
    assert found == pytest.approx(single, rel=1e-2)


def described(**changes: object) -> bytes:
    place = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    text = json.dumps({"a": place}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 7,
        b"\xff" * 100,
        (2**63).to_bytes(8, "little") + b"{}",
        (3).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"\xff\xff",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        described(dtype="F31"),
        described(dtype=["F32"]),
        described(shape=[2, 3]),
        described(shape=[2, -2]),
        described(shape=[True, 4]),
        described(shape=[2**40, 2**40]),
        described(shape=4),
        described(data_offsets=[0, 17]),
        described(data_offsets=[4, 20]),
        described(data_offsets=[-16, 0]),
        described(data_offsets=[16, 0]),
        described(data_offsets=[0]),
        described(data_offsets=[0.0, 16.0]),
    ],
)
def test_a_file_that_is_no_file_of_tensors_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Tensors(data)


@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_byte_changes_there_are_numbers_or_an_error(data: st.DataObject) -> None:
    changed = bytearray(described())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Tensors(bytes(changed[: data.draw(st.integers(0, len(changed)))])).array("a")
    except ValueError:
        return
    assert np.isfinite(found).all()


def test_numbers_that_are_none_and_places_that_are_not_there_are_refused(tmp_path: Path) -> None:
    bad = np.array([1, np.nan, 3], "<f4")
    found = Tensors(file_of(tmp_path, {"a": bad, "n": np.array([0, 3], "<i8")}))
    with pytest.raises(ValueError, match="a: numbers that are not finite"):
        found.array("a")
    for name, count, below in (("n", 2, 3), ("n", 3, 9), ("a", 3, 9)):
        with pytest.raises(ValueError):
            found.places(name, count, below)
    for name in ("b", "n"):
        with pytest.raises(ValueError):
            found.array(name, 5)


# What comes of a model.


@pytest.fixture
def tokenizers() -> Any:
    return pytest.importorskip("tokenizers")


class Naive:
    """BERT as the paper has it, one number after the other."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        self._tensors = tensors

    def mean(self, tokens: list[int]) -> list[float]:
        """The mean of what comes of the tokens, with the length 1."""
        words, places, types = (
            self._tensor(f"embeddings.{name}_embeddings.weight")
            for name in ("word", "position", "token_type")
        )
        hidden = [
            self._norm("embeddings", _plus(words[token], places[place], types[0]))
            for place, token in enumerate(tokens)
        ]
        for layer in (0, 1):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden)
        mean = [sum(column) / len(hidden) for column in zip(*hidden, strict=True)]
        length = math.sqrt(sum(v * v for v in mean))
        return [v / length for v in mean]

    def _layer(self, at: str, hidden: list[list[float]]) -> list[list[float]]:
        after = []
        for x, attended in zip(hidden, self._attended(f"{at}attention.self.", hidden), strict=True):
            said = self._dense(f"{at}attention.output.dense", attended)
            middle = self._norm(f"{at}attention.output", _plus(x, said))
            inner = self._dense(f"{at}intermediate.dense", middle)
            inner = [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in inner]
            outer = self._dense(f"{at}output.dense", inner)
            after.append(self._norm(f"{at}output", _plus(middle, outer)))
        return after

    def _attended(self, at: str, hidden: list[list[float]]) -> list[list[float]]:
        queries, keys, values = (
            [self._dense(f"{at}{part}", x) for x in hidden] for part in ("query", "key", "value")
        )
        attended = [[0.0] * 8 for _ in hidden]
        for place, query in enumerate(queries):
            for head in (range(4), range(4, 8)):
                scores = [math.exp(sum(query[n] * key[n] for n in head) / 2) for key in keys]
                for column in head:
                    shares = (s * v[column] for s, v in zip(scores, values, strict=True))
                    attended[place][column] = sum(shares) / sum(scores)
        return attended

    def _dense(self, name: str, x: list[float]) -> list[float]:
        weight, bias = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
        products = [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]
        return _plus(products, bias)

    def _norm(self, name: str, x: list[float]) -> list[float]:
        weight, bias = (self._tensor(f"{name}.LayerNorm.{part}") for part in ("weight", "bias"))
        mean = sum(x) / len(x)
        spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-12)
        return [(v - mean) / spread * w + b for v, w, b in zip(x, weight, bias, strict=True)]

    def _tensor(self, name: str) -> Any:
        return self._tensors[name].astype(float).tolist()


def _plus(*vectors: list[float]) -> list[float]:
    return [sum(each) for each in zip(*vectors, strict=True)]


TEXTS = ["retry when the peer goes", "connection", "", "the lost the lost", "unheard of"]


def tokens_of(text: str) -> list[int]:
    known = {word: number for number, word in enumerate(WORDS)}
    return [1, *(known.get(word, 3) for word in text.split()), 2]


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_sentence_model_computes_what_the_paper_says(
    tokenizers: Any, tmp_path: Path, prefix: str
) -> None:
    tensors = sentence_model(tmp_path / "model", prefix)
    naive = Naive({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    embedder = SentenceEmbedder(tmp_path / "model")
    found = embedder.embed_documents(TEXTS)
    assert (found.shape, str(found.dtype), embedder.dim) == ((5, 8), "float32", 8)
    for text, vector in zip(TEXTS, found, strict=True):
        assert vector.tolist() == pytest.approx(naive.mean(tokens_of(text)), abs=1e-5)
        assert embedder.embed_query(text) == pytest.approx(vector, abs=1e-6), "batch and alone"


def test_more_texts_than_go_at_once_are_all_embedded_in_their_order(
    tokenizers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence_model(tmp_path / "model")
    embedder = SentenceEmbedder(tmp_path / "model")
    whole = embedder.embed_documents(TEXTS * 3)
    for at_once in (1, 7, 12):
        monkeypatch.setattr("cidx_ref.index.embedders.sentence._AT_ONCE", at_once)
        assert embedder.embed_documents(TEXTS * 3) == pytest.approx(whole, abs=1e-6)


def test_pooling_normalisation_length_and_leading_words_are_as_the_model_says(
    tokenizers: Any, tmp_path: Path
) -> None:
    def made(name: str, **files: object) -> SentenceEmbedder:
        sentence_model(tmp_path / name)
        for path, content in files.items():
            plain = {"pooling": "1_Pooling/config", "length": "sentence_bert_config"}
            place = tmp_path / name / f"{plain.get(path, path)}.json"
            place.write_text(json.dumps(content))
        return SentenceEmbedder(tmp_path / name)

    text, short = "retry when the peer goes", "retry when"
    usual = made("usual")
    transformer, pooling = {"type": "x.models.Transformer"}, {"type": "x.models.Pooling"}
    raw = made("raw", modules=[transformer, pooling]).embed_query(text)
    assert abs(float(np.linalg.norm(raw)) - 1) > 0.1
    assert raw / np.linalg.norm(raw) == pytest.approx(usual.embed_query(text), abs=1e-6)
    first = made("first", pooling={"pooling_mode_cls_token": True}).embed_query(text)
    assert abs(first - usual.embed_query(text)).max() > 0.01
    cut = made("cut", length={"max_seq_length": 4})
    assert cut.embed_query(text) == pytest.approx(usual.embed_query(short), abs=1e-6)
    asked = made(
        "asked", config_sentence_transformers={"prompts": {"query": "lost ", "passage": "the "}}
    )
    assert asked.embed_query(text) == pytest.approx(usual.embed_query(f"lost {text}"), abs=1e-6)
    (document,) = asked.embed_documents([text])
    assert document == pytest.approx(usual.embed_query(f"the {text}"), abs=1e-6)


def test_a_text_longer_than_any_model_reads_and_half_a_character_are_no_errors(
    tokenizers: Any, tmp_path: Path
) -> None:
    sentence_model(tmp_path / "model")
    embedder = SentenceEmbedder(tmp_path / "model")
    for text in ("retry " * 20_000, "\ud800 retry", "\0", " " * 100_000):
        assert np.isfinite(embedder.embed_query(text)).all()


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("config", {"model_type": "roberta"}, "must be 'bert'"),
        ("config", {"position_embedding_type": "relative_key"}, "must be 'absolute'"),
        ("config", {"hidden_act": "swish"}, "hidden_act"),
        ("config", {"num_attention_heads": 3}, "8 dimensions for 3 heads"),
        ("config", {"hidden_size": "8"}, "hidden_size: '8'"),
        ("config", {"layer_norm_eps": 0}, "layer_norm_eps"),
        ("config", {"vocab_size": 12}, "of shape"),
        ("1_Pooling/config", {"pooling_mode_max_tokens": True}, "mean_tokens, max_tokens"),
        ("1_Pooling/config", {"pooling_mode_mean_tokens": False}, "no way"),
    ],
)
def test_a_model_of_another_kind_is_refused_when_it_is_named(
    tokenizers: Any, tmp_path: Path, name: str, changes: dict[str, object], why: str
) -> None:
    sentence_model(tmp_path / "model")
    edit(tmp_path / "model" / f"{name}.json", **changes)
    with pytest.raises(ConfigError, match=why):
        SentenceEmbedder(tmp_path / "model")


def test_a_model_with_a_step_that_is_not_known_is_refused(tokenizers: Any, tmp_path: Path) -> None:
    sentence_model(tmp_path / "model")
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    steps = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(steps))
    with pytest.raises(ConfigError, match=r"Dense, Normalize: must be"):
        SentenceEmbedder(tmp_path / "model")


@pytest.mark.promise("QRY-3")
def test_a_tensor_that_is_missing_is_named_when_it_is_needed(
    tokenizers: Any, tmp_path: Path
) -> None:
    tensors = sentence_model(tmp_path / "model")
    del tensors["encoder.layer.1.output.dense.bias"]
    write_tensors(tmp_path / "model" / "model.safetensors", tensors)
    embedder = SentenceEmbedder(tmp_path / "model")
    for _ in range(2):
        with pytest.raises(EmbedderError, match=r"no tensor encoder\.layer\.1\.output") as failed:
            embedder.embed_query("retry")
        assert str(tmp_path) not in str(failed.value)


def test_a_static_model_is_the_mean_of_the_words_that_it_knows(
    tokenizers: Any, tmp_path: Path
) -> None:
    table = static_model(tmp_path / "model")
    embedder = StaticEmbedder(tmp_path / "model")
    documents = embedder.embed_documents(["retry the unheard of peer", "", "unheard of"])
    mean = table[[WORDS.index(word) for word in ("retry", "the", "peer")]].mean(axis=0)
    assert documents[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert not documents[1:].any()
    assert embedder.embed_query("Retry  the PEER") == pytest.approx(documents[0], abs=1e-6)
    (tmp_path / "model" / "config.json").write_text('{"normalize": false}')
    plain = StaticEmbedder(tmp_path / "model").embed_query("the peer retry")
    assert plain == pytest.approx(mean, abs=1e-6)


def test_weights_and_rows_of_a_static_model_count(tokenizers: Any, tmp_path: Path) -> None:
    weights = np.arange(len(WORDS), dtype="<f4")
    rows = np.array([*range(4), 4, 4, 4, 5, 5, 5, 5][: len(WORDS)], "<i4")
    table = static_model(tmp_path / "model", weights=weights, mapping=rows)
    found = StaticEmbedder(tmp_path / "model").embed_query("retry peer")
    at = [WORDS.index("retry"), WORDS.index("peer")]
    mean = (table[rows[at]] * weights[at][:, None]).mean(axis=0)
    assert found == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_a_row_that_the_table_has_not_is_refused(tokenizers: Any, tmp_path: Path) -> None:
    static_model(tmp_path / "model", mapping=np.full(len(WORDS), 99, "<i4"))
    with pytest.raises(EmbedderError, match="mapping: a number that is not below"):
        StaticEmbedder(tmp_path / "model").embed_query("retry")


# What a model is called, and where it comes from.


def test_another_byte_is_another_model_and_another_place_is_not(
    tokenizers: Any, tmp_path: Path
) -> None:
    sentence_model(tmp_path / "one")
    sentence_model(tmp_path / "other")
    first = SentenceEmbedder(tmp_path / "one").id
    assert first == SentenceEmbedder(tmp_path / "other").id
    assert first.startswith("sentence-8-")
    files = [path for path in (tmp_path / "other").rglob("*") if path.is_file()]
    seen = {first}
    for path in files:
        kept = path.read_bytes()
        path.write_bytes(
            kept[:-1] + bytes([kept[-1] ^ 1]) if path.suffix != ".json" else kept + b" "
        )
        seen.add(SentenceEmbedder(tmp_path / "other").id)
        path.write_bytes(kept)
    (tmp_path / "other" / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    seen.add(SentenceEmbedder(tmp_path / "other").id)
    assert len(files) == 5
    assert len(seen) == len(files) + 2


@pytest.mark.parametrize("rules", ["model", "tensors", "static"])
def test_another_way_to_compute_is_another_model(
    tokenizers: Any, tmp_path: Path, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    static_model(tmp_path / "model")
    first = StaticEmbedder(tmp_path / "model").id
    monkeypatch.setattr(
        model_module, "rules_of", lambda names: f"{f'embedders/{rules}.py' in names}"
    )
    assert StaticEmbedder(tmp_path / "model").id != first
    other = StaticEmbedder(tmp_path / "model").id
    monkeypatch.setattr(model_module, "rules_of", lambda names: "False")
    assert StaticEmbedder(tmp_path / "model").id != other


@pytest.mark.promise("QRY-3")
def test_a_model_that_has_changed_since_it_was_named_is_not_used(
    tokenizers: Any, tmp_path: Path
) -> None:
    static_model(tmp_path / "model")
    embedders = [StaticEmbedder(tmp_path / "model") for _ in range(2)]
    assert embedders[0].embed_query("retry").any()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert embedders[0].embed_query("peer").any(), "what is loaded, is"
    with pytest.raises(EmbedderError, match="the files of CIDX_REF_MODEL have changed") as failed:
        embedders[1].embed_query("peer")
    assert str(tmp_path) not in str(failed.value)
    (tmp_path / "model" / "config.json").unlink()
    assert embedders[1].embed_query("peer").any(), "an error is not remembered"


def test_ten_readers_load_a_model_once(
    tokenizers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static_model(tmp_path / "model")
    embedder = StaticEmbedder(tmp_path / "model")
    loads: list[int] = []
    read = model_module.ModelFiles.read

    def counted(self: model_module.ModelFiles) -> dict[str, bytes]:
        loads.append(1)
        return read(self)

    monkeypatch.setattr(model_module.ModelFiles, "read", counted)
    threads = [SYSTEM.thread(lambda: embedder.embed_query("retry"), "reader") for _ in range(10)]
    for thread in threads:
        thread.join(10)
    assert len(loads) == 1


@pytest.mark.parametrize("kind", ["static", "sentence"])
def test_what_is_wrong_with_the_directory_is_one_line(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, kind)

    def refused(directory: str | Path) -> str:
        monkeypatch.setenv(MODEL, str(directory))
        with pytest.raises(ConfigError) as caught:
            configured()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{VARIABLE}: '{kind}': {MODEL}")
        return str(caught.value)

    assert refused("").endswith("must name the directory of a model")
    assert refused("models/x").endswith("must be an absolute path, or begin with ~/")
    assert "No such file" in refused(tmp_path / "nowhere")
    (tmp_path / "model" / "model.safetensors").mkdir(parents=True)
    assert "model.safetensors" in refused(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rmdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x" * 100)
    assert "tokenizer.json: No such file" in refused(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    refused(tmp_path / "model")
    monkeypatch.setitem(model_module._MAX_BYTES, "model.safetensors", 99)
    assert "larger than 99 bytes" in refused(tmp_path / "model")


def test_without_the_library_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static_model(tmp_path / "model")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"tokenizers is missing: pip install 'cidx-ref\[model\]'"
    ):
        StaticEmbedder(tmp_path / "model")


def test_a_project_is_indexed_and_searched_with_a_model(
    tokenizers: Any, tmp_path: Path, make_project: MakeProject
) -> None:
    sentence_model(tmp_path / "model")
    project = make_project({"a.py": "the peer goes\n", "b.py": "retry when connection lost\n"})
    embedder = SentenceEmbedder(tmp_path / "model")
    bring_up_to_date(project, embedder)
    service = CIDXDaemonService(project.root, embedder=embedder)
    try:
        asked = "b.py retry when connection lost"
        found = service.exposed_query(str(project.root), asked)["results"]
        assert (found[0]["path"], len(found)) == ("b.py", 2)
    finally:
        service.exposed_clear_cache()
