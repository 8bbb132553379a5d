"""Everything that acts on a folder holding ``bandstand.toml``.

``manifest`` reads the file into one frozen ``Workspace``; ``export`` renders that into the configuration of other
programs; ``runtime`` starts the platform on this machine. Nothing here is imported by a service.
"""
