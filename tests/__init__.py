"""Tests mirror the house: a folder a room, one file a module, names that are sentences."""
