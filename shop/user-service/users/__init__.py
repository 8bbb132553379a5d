"""People, their profiles and their sign-ins."""
