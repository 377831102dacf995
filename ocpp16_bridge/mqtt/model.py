"""Shapes of what travels over MQTT."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """What the daemon publishes; members that are None are left out."""

    model_config = ConfigDict(frozen=True)


class Arguments(BaseModel):
    """What a request holds: JSON types are taken as they are, unknown arguments refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
