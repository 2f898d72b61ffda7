"""Fixtures for all tests."""

pytest_plugins = ["kit.testing"]
