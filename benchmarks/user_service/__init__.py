"""A whole service for the benchmark of the client: settings, middleware and REST framework as in the shop."""
