"""Tiny models in directories, as those of `static` and `sentence` are laid out: random, and always
the same.  Written without the libraries that read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIG", "WORDS", "sentence_model", "static_model", "write_tensors"]

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"retry connection lost when the peer goes".split()]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "vocab_size": len(WORDS),
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
_TYPES = {"f4": "F32", "f2": "F16", "i4": "I32", "i8": "I64"}


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """A file of tensors."""
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        kind = _TYPES[array.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps({"__metadata__": {"format": "np"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_tokenizer(path: Path) -> None:
    """One token a word, and `[CLS]` and `[SEP]` around all of them."""
    description: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "[UNK]",
        },
    }
    path.write_text(json.dumps(description))


def static_model(directory: Path, dim: int = 6, **more: NDArray[Any]) -> NDArray[np.float32]:
    """A static model; returns its table, a row for each of `WORDS`."""
    directory.mkdir(parents=True)
    table = np.random.default_rng(7).normal(size=(len(WORDS), dim)).astype(np.float32)
    write_tensors(directory / "model.safetensors", {"embeddings": table, **more})
    write_tokenizer(directory / "tokenizer.json")
    return table


def sentence_model(
    directory: Path, prefix: str = "", **config: object
) -> dict[str, NDArray[np.float32]]:
    """A sentence model; returns its tensors."""
    (directory / "1_Pooling").mkdir(parents=True)
    random, dim, inner = np.random.default_rng(11), 8, 12
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), dim),
        "embeddings.position_embeddings.weight": (16, dim),
        "embeddings.token_type_embeddings.weight": (2, dim),
    }
    for norm in ("embeddings", *(f"encoder.layer.{n}.{p}" for n in (0, 1)
                                 for p in ("attention.output", "output"))):  # fmt: skip
        shapes |= {f"{norm}.LayerNorm.{part}": (dim,) for part in ("weight", "bias")}
    for layer in (0, 1):
        for name, outputs, inputs in (
            *((f"attention.self.{part}", dim, dim) for part in ("query", "key", "value")),
            ("attention.output.dense", dim, dim),
            ("intermediate.dense", inner, dim),
            ("output.dense", dim, inner),
        ):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (outputs, inputs)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (outputs,)
    tensors = {
        f"{prefix}{name}": random.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    write_tensors(directory / "model.safetensors", tensors)
    write_tokenizer(directory / "tokenizer.json")
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}))
    kinds = ("Transformer", "Pooling", "Normalize")
    (directory / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{kind}"} for kind in kinds])
    )
    (directory / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return tensors
