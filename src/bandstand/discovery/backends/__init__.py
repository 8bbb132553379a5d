"""The kinds of registries, one file for each."""
