"""Nouns to bytes and back, as the stores keep them. The bytes are the store's own and no wire format."""

from typing import Final

from cattrs.preconf.msgspec import MsgspecJsonConverter, make_converter
from cattrs.strategies import configure_tagged_union

from remit.core.grants import NamedTool, ToolsByEffect
from remit.core.servers import CallerTransport, HttpTransport, StdioTransport


def _converter() -> MsgspecJsonConverter:
    converter = make_converter(forbid_extra_keys=True)
    configure_tagged_union(HttpTransport | StdioTransport | CallerTransport, converter, tag_name="is")
    configure_tagged_union(NamedTool | ToolsByEffect, converter, tag_name="is")
    return converter


_CONVERTER: Final = _converter()
dumps: Final = _CONVERTER.dumps
loads: Final = _CONVERTER.loads
