"""The kinds that are said as tables, a module a group; each has its `ROWS`."""
