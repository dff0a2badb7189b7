"""Nouns to bytes and back, as the stores keep them. The bytes are the store's own and no wire format."""

from typing import Final, TypeVar

from cattrs.preconf.msgspec import MsgspecJsonConverter, make_converter
from cattrs.strategies import configure_tagged_union

from remit.core.errors import StoreUnavailable
from remit.core.grants import NamedTool, ToolsByEffect
from remit.core.servers import CallerTransport, HttpTransport, StdioTransport

T = TypeVar("T")


def _converter() -> MsgspecJsonConverter:
    converter = make_converter(forbid_extra_keys=True)
    configure_tagged_union(HttpTransport | StdioTransport | CallerTransport, converter, tag_name="is")
    configure_tagged_union(NamedTool | ToolsByEffect, converter, tag_name="is")
    return converter


_CONVERTER: Final = _converter()
dumps: Final = _CONVERTER.dumps


def loads(data: bytes, kind: type[T]) -> T:
    """The noun that ``dumps`` wrote. Raises ``StoreUnavailable`` for bytes that it did not write."""
    try:
        return _CONVERTER.loads(data, kind)
    except Exception as error:  # cattrs has no one error: it runs into whatever the bytes make of its generated code
        raise StoreUnavailable(f"a stored {kind.__name__.lower()} can't be read") from error
