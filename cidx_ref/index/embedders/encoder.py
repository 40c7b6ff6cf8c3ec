"""The encoder of `sentence`: BERT (Devlin et al. 2019), as numpy computes it.

Embeddings of token, position and type; then layers of attention and of two dense steps, each added
to what it was given, and normalised.  numpy releases the interpreter's lock for the products, which
are nearly all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cidx_ref.index.embedders.model import whole
from cidx_ref.index.embedders.tensors import Tensors
from cidx_ref.shown import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

__all__ = ["Encoder", "Size"]

_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
_WORDS = "embeddings.word_embeddings.weight"
_NEVER = -1e9  # what attention is given to padding, before the softmax


@dataclass(frozen=True, slots=True)
class Size:
    """How large an encoder is."""

    dim: int
    layers: int
    heads: int
    inner: int
    positions: int
    words: int
    activation: str
    epsilon: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Size:
        """By `config.json`.  Raises `ValueError` for another kind of model."""
        if config.get("model_type") != "bert":
            raise ValueError(f"model_type: {shown(config.get('model_type'))}: must be 'bert'")
        if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
            raise ValueError(f"position_embedding_type: {shown(kind)}: must be 'absolute'")
        activation = config.get("hidden_act", "gelu")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"hidden_act: {shown(activation)}: must be {', '.join(_ACTIVATIONS)}")
        epsilon = config.get("layer_norm_eps", 1e-12)
        if not isinstance(epsilon, float) or not 0 < epsilon < 1:
            raise ValueError(f"layer_norm_eps: {shown(epsilon)}: must be between 0 and 1")
        found = cls(
            dim=whole(config, "hidden_size", 1 << 14),
            layers=whole(config, "num_hidden_layers", 100),
            heads=whole(config, "num_attention_heads", 1 << 10),
            inner=whole(config, "intermediate_size", 1 << 16),
            positions=whole(config, "max_position_embeddings", 1 << 16),
            words=whole(config, "vocab_size", 1 << 22),
            activation=activation,
            epsilon=epsilon,
        )
        if found.dim % found.heads:
            raise ValueError(f"{found.dim} dimensions for {found.heads} heads")
        return found


class Encoder:
    """Immutable, and thread-safe."""

    def __init__(self, tensors: Tensors, size: Size) -> None:
        """Raises `ValueError` for tensors that are missing, or of another size."""
        import numpy as np

        self._size = size
        first, dim = _prefix(tensors), size.dim
        within = f"{first}embeddings."
        self._words = tensors.array(f"{first}{_WORDS}", size.words, dim)
        places = tensors.array(f"{within}position_embeddings.weight", size.positions, dim)
        types = tensors.array(f"{within}token_type_embeddings.weight")
        if types.ndim != 2 or types.shape[1] != dim or not len(types):
            raise ValueError(f"token types of shape {types.shape}")
        self._places = places + types[0]
        self._norm = _Norm(tensors, f"{within}LayerNorm", size)
        self._layers = [
            _Layer(tensors, f"{first}encoder.layer.{number}.", size)
            for number in range(size.layers)
        ]
        self._never = np.float32(_NEVER)

    @staticmethod
    def check(tensors: Tensors, size: Size) -> None:
        """Raise `ValueError` if these are not the tensors of such an encoder, at first sight."""
        name = f"{_prefix(tensors)}{_WORDS}"
        if tensors.shape(name) != (size.words, size.dim):
            raise ValueError(f"{name}: of shape {tensors.shape(name)}")

    def encode(self, ids: NDArray[np.intp], mask: NDArray[np.bool_]) -> Array:
        """Of texts of tokens, of which `mask` says which are there, a vector for each token."""
        import numpy as np

        if ids.max(initial=0) >= self._size.words:
            raise ValueError("a token that the model does not have")
        hidden = self._norm(self._words[ids] + self._places[: ids.shape[1]])
        bias = np.where(mask, np.float32(0), self._never)[:, None, None, :]
        for layer in self._layers:
            hidden = layer(hidden, bias)
        return hidden


class _Layer:
    def __init__(self, tensors: Tensors, first: str, size: Size) -> None:
        import numpy as np

        dim = size.dim
        self._heads = size.heads
        of_self = f"{first}attention.self."
        asked = [_Dense(tensors, f"{of_self}{n}", dim, dim) for n in ("query", "key", "value")]
        #: All three in one product.
        self._asked = asked[0]
        self._asked.weight = np.concatenate([each.weight for each in asked], axis=1)
        self._asked.bias = np.concatenate([each.bias for each in asked])
        self._said = _Dense(tensors, f"{first}attention.output.dense", dim, dim)
        self._said_norm = _Norm(tensors, f"{first}attention.output.LayerNorm", size)
        self._inner = _Dense(tensors, f"{first}intermediate.dense", size.inner, dim)
        self._outer = _Dense(tensors, f"{first}output.dense", dim, size.inner)
        self._outer_norm = _Norm(tensors, f"{first}output.LayerNorm", size)
        self._activation = size.activation

    def __call__(self, hidden: Array, bias: Array) -> Array:
        attended = self._said(self._attention(hidden, bias))
        hidden = self._said_norm(hidden + attended)
        inner = _activated(self._activation, self._inner(hidden))
        return self._outer_norm(hidden + self._outer(inner))

    def _attention(self, hidden: Array, bias: Array) -> Array:
        import numpy as np

        texts, tokens, dim = hidden.shape
        asked = self._asked(hidden).reshape(texts, tokens, 3, self._heads, dim // self._heads)
        query, key, value = asked.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(2, 3)
        scores *= np.float32((dim // self._heads) ** -0.5)
        scores += bias
        scores -= scores.max(axis=3, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=3, keepdims=True)
        heads: Array = (scores @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, dim)
        return heads


class _Dense:
    def __init__(self, tensors: Tensors, name: str, outputs: int, inputs: int) -> None:
        self.weight: Array = tensors.array(f"{name}.weight", outputs, inputs).T
        self.bias: Array = tensors.array(f"{name}.bias", outputs)

    def __call__(self, given: Array) -> Array:
        found: Array = given @ self.weight
        found += self.bias
        return found


class _Norm:
    def __init__(self, tensors: Tensors, name: str, size: Size) -> None:
        self._weight = tensors.array(f"{name}.weight", size.dim)
        self._bias = tensors.array(f"{name}.bias", size.dim)
        self._epsilon = size.epsilon

    def __call__(self, given: Array) -> Array:
        import numpy as np

        centred = given - given.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        found: Array = centred / np.sqrt(variance + np.float32(self._epsilon))
        found *= self._weight
        found += self._bias
        return found


def _prefix(tensors: Tensors) -> str:
    """What stands before the names of the tensors: models are saved with it, and without."""
    return "bert." if f"bert.{_WORDS}" in tensors else ""


def _activated(name: str, given: Array) -> Array:
    import numpy as np

    if name == "relu":
        return np.maximum(given, np.float32(0))
    if name == "gelu":
        inner = _erf(given * np.float32(0.5**0.5))
    else:
        cubic = given + np.float32(0.044715) * given * given * given
        inner = np.tanh(np.float32(0.7978845608028654) * cubic)
    found: Array = np.float32(0.5) * given * (np.float32(1) + inner)
    return found


def _erf(x: Array) -> Array:
    """The error function, which numpy has not: Abramowitz and Stegun, 7.1.26, to 1.5e-7."""
    import numpy as np

    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * np.abs(x))
    sum_ = np.float32(1.061405429) * t
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        sum_ = (sum_ + np.float32(factor)) * t
    found: Array = np.copysign(np.float32(1) - sum_ * np.exp(-x * x), x)
    return found
