from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "tests.integration.events.ledger"
    label = "ledger"
