"""Versions and aliases of models in a store, and the watch that serves the one an alias names."""

from anoean_stream.registry.layout import CHAMPION, PREVIOUS, AliasRecord
from anoean_stream.registry.registry import Registry, VersionInfo
from anoean_stream.registry.watch import ModelWatch

__all__ = ["CHAMPION", "PREVIOUS", "AliasRecord", "ModelWatch", "Registry", "VersionInfo"]
