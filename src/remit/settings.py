"""Settings: what an operator may choose, read once, whole, and frozen. The one reader of the environment.

From ``remit.toml`` in the home, over which the environment (``REMIT_…``) wins. Half of a pair can't be written down.
"""

import os
from pathlib import Path
from typing import Final

from pydantic import Field, IPvAnyNetwork
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

DEFAULT_PORT: Final = 8765


class Settings(BaseSettings):
    """All that can be set. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="REMIT_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address that `remit up` listens on")
    port: int = Field(DEFAULT_PORT, ge=0, le=65_535, description="port that `remit up` listens on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="processes that `remit up` serves with")
    max_body: int = Field(1_048_576, ge=1_024, le=16_777_216, description="largest request body")
    max_depth: int = Field(64, ge=4, le=512, description="deepest nesting of a request body")
    call_timeout: float = Field(60.0, gt=0, le=3_600, description="how long an upstream call may take")
    listen: float = Field(300.0, gt=0, le=3_600, description="how long one subscription to changes stays open")
    plan_tool: bool = Field(False, description="whether `/mcp` lists `remit__plan`, with which an agent narrows itself")
    resync: float = Field(60.0, gt=0, le=86_400, description="how often an open upstream's tool list is compared")
    sweep: float = Field(5.0, gt=0, le=3_600, description="how often lost calls are looked for")
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), description="networks of proxies whose X-Forwarded-For is believed; none means that nobody's is"
    )
    two_administrators: bool = Field(False, description="whether a person's departure needs two administrators")
    token_key_life: int = Field(90, ge=1, le=3_650, description="days after which another key signs tokens")
    checkpoint: float = Field(1.0, gt=0, le=3_600, description="how often the log's tree head is signed")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Given values, then the environment, then ``remit.toml``; no dotenv and no secret files."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(home: Path) -> Settings:
    """The settings of a home. Raises ``pydantic.ValidationError`` naming every member that is wrong."""
    source = home / "remit.toml"

    class HomeSettings(Settings):
        model_config = SettingsConfigDict(toml_file=source)

    return HomeSettings()  # type: ignore[call-arg]  # every member has a default


def home_from_environment(chosen: Path | None) -> Path:
    """Where Remit keeps its things: the given path, ``REMIT_HOME``, ``./.remit`` if it is there, else ``~/.remit``."""
    if chosen is not None:
        return chosen
    named = os.environ.get("REMIT_HOME")
    if named:
        return Path(named)
    here = Path.cwd() / ".remit"
    return here if here.is_dir() else Path.home() / ".remit"
