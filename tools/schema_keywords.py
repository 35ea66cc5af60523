# SPDX-License-Identifier: Apache-2.0
"""Which keywords a JSON Schema uses, for reports that list misses by keyword."""


def keywords(schema, found):
    """Adds every key of `schema`, at any depth, to the set `found`, and returns it."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            found.add(key)
            keywords(value, found)
    elif isinstance(schema, list):
        for value in schema:
            keywords(value, found)
    return found
