"""Recipes that take no time to load, for tests of the targets."""
