"""What `http` is told by the environment: which service, which model, where, and by which key.

Nothing of it comes from a tree: neither its `config.json`, which the full cidx keeps a provider and
an endpoint in, nor a file `.env`.  A key of a provider's own variable goes to that provider's own
address; to any other goes `CIDX_REF_EMBEDDER_KEY` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from cidx_ref.errors import ConfigError
from cidx_ref.index.embedders.web import Endpoint, Key, Proxy
from cidx_ref.shown import shown

__all__ = ["API", "DIM", "KEY", "MODEL", "URL", "Settings"]

API, DIM, KEY, MODEL, URL = (
    f"CIDX_REF_EMBEDDER_{name}" for name in ("API", "DIM", "KEY", "MODEL", "URL")
)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_PATH = re.compile(r"(/[A-Za-z0-9._~%@:+=-]*)*")
_MAX_DIM = 1 << 14


@dataclass(frozen=True, slots=True)
class Provider:
    """A service, and what its models are known to give."""

    url: str
    key: str
    model: str
    #: By the name of a model, the length of its vectors.
    dims: Mapping[str, int]
    #: How a request asks for another length.
    dim_field: str
    #: Whether a request says what a text is: a query or a document.
    tells_kind: bool


PROVIDERS = {
    "voyage": Provider(
        url="https://api.voyageai.com/v1",
        key="VOYAGE_API_KEY",
        model="voyage-code-3",
        dims={
            "voyage-code-3": 1024,
            "voyage-code-2": 1536,
            "voyage-3-large": 1024,
            "voyage-3.5": 1024,
            "voyage-3.5-lite": 1024,
            "voyage-3": 1024,
            "voyage-3-lite": 512,
            "voyage-large-2": 1536,
        },
        dim_field="output_dimension",
        tells_kind=True,
    ),
    "openai": Provider(
        url="https://api.openai.com/v1",
        key="OPENAI_API_KEY",
        model="text-embedding-3-small",
        dims={
            "text-embedding-3-small": 1536,
            "text-embedding-3-large": 3072,
            "text-embedding-ada-002": 1536,
        },
        dim_field="dimensions",
        tells_kind=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What to ask, and where."""

    api: str
    model: str
    dim: int
    #: Whether the length of the vectors is asked for, as the model has others, too.
    asks_dim: bool
    endpoint: Endpoint
    is_providers: bool
    key: Key | None = field(default=None, repr=False)
    #: Where the key is from: what a user may have to look at.
    key_from: str = ""
    proxy: Proxy | None = field(default=None, repr=False)

    @classmethod
    def of_environment(cls) -> Settings:
        """Raises `ConfigError`, which shows no key."""
        model, api = os.environ.get(MODEL, ""), os.environ.get(API, "")
        if api not in ("", *PROVIDERS):
            raise ConfigError(f"{API}: {shown(api)}: must be {' or '.join(PROVIDERS)}")
        if not api:
            api = "voyage" if model.startswith("voyage") or not model else "openai"
        provider = PROVIDERS[api]
        url = os.environ.get(URL, "")
        if url and not model:
            raise ConfigError(f"{MODEL}: must name a model of {URL}")
        model = model or provider.model
        if not _MODEL.fullmatch(model):
            raise ConfigError(f"{MODEL}: {shown(model)}: must be the name of a model")
        endpoint = _endpoint(url or provider.url)
        is_providers = endpoint == _endpoint(provider.url)
        key, key_from = _key(provider, endpoint, is_providers=is_providers)
        dim, asks_dim = _dim(provider, model)
        proxy = _proxy(endpoint)
        return cls(api, model, dim, asks_dim, endpoint, is_providers, key, key_from, proxy)


def _dim(provider: Provider, model: str) -> tuple[int, bool]:
    said = os.environ.get(DIM, "")
    if said:
        if not said.isascii() or not said.isdecimal() or not 1 <= int(said[:9]) <= _MAX_DIM:
            raise ConfigError(f"{DIM}: {shown(said)}: must be a whole number from 1 to {_MAX_DIM}")
        return int(said), model in provider.dims and provider.dims[model] != int(said)
    if model not in provider.dims:
        raise ConfigError(f"{DIM}: must be the length of the vectors of {shown(model)}")
    return provider.dims[model], False


def _key(provider: Provider, endpoint: Endpoint, *, is_providers: bool) -> tuple[Key | None, str]:
    names = (KEY, provider.key) if is_providers else (KEY,)
    for name in names:
        if text := os.environ.get(name, ""):
            try:
                return Key(text), name
            except ValueError as error:
                raise ConfigError(f"{name}: {error}") from None
    if endpoint.is_loopback:
        return None, KEY
    raise ConfigError(f"{' or '.join(names)}: must hold the key for the service")


def _endpoint(url: str) -> Endpoint:
    """The address that is posted to: what stands before it, as the services' own clients have it,
    or all of it."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise _bad_url("is no address") from None
    if parts.username is not None or parts.password is not None:
        raise _bad_url(f"must not hold a name or a password: the key is in {KEY}")
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        raise _bad_url("must be an address without anything behind the path")
    if not _HOST.fullmatch(host) or parts.scheme not in ("http", "https"):
        raise _bad_url("must be https://host/path")
    is_tls = parts.scheme == "https"
    path = parts.path.rstrip("/")
    if not path.endswith("/embeddings"):
        path += "/embeddings"
    endpoint = Endpoint(is_tls, host, port or (443 if is_tls else 80), path)
    if not is_tls and not endpoint.is_loopback:
        raise _bad_url("must be https, for it is not on this machine")
    return endpoint


def _bad_url(why: str) -> ConfigError:
    # Without what it is: it may hold a password.
    return ConfigError(f"{URL}: {why}")


def _proxy(endpoint: Endpoint) -> Proxy | None:
    """The proxy that the user's environment names for `endpoint`, if it does."""
    from urllib.request import getproxies_environment, proxy_bypass

    place = getproxies_environment().get("https", "")
    if not endpoint.is_tls or endpoint.is_loopback or not place:
        return None
    if proxy_bypass(f"{endpoint.host}:{endpoint.port}"):
        return None
    try:
        return Proxy.at(_split(place))
    except ValueError:
        raise ConfigError("HTTPS_PROXY: must be http://host:port") from None


def _split(place: str) -> SplitResult:
    parts = urlsplit(place if "://" in place else f"http://{place}")
    _ = parts.port  # which raises `ValueError`
    return parts
