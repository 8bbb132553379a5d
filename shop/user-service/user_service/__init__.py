"""The user service: who people are, and how they prove it."""
