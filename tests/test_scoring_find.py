"""Finding the supplier that a command names."""

import pytest

from everafter.core.ids import read_supplier_id
from everafter.scoring.queries import find_supplier
from helpers_mail import sql, with_connection


@pytest.mark.parametrize(
    "words",
    [
        "studio/47",
        "info@bücher-hochzeit.example",
        "INFO@xn--bcher-hochzeit-gsb.example",
        "rosewood",
        "Rosewood 100%",
    ],
)
def test_a_supplier_is_found_by_id_email_in_any_spelling_and_name(
    database: str, words: str
) -> None:
    sql(
        database,
        "INSERT INTO suppliers (id, external_id, name, email) VALUES"
        " ('28d51bcf-0f80-5d9f-8ee1-44d2e8a1d9a5', NULL, 'Golden Hour', 'ann@example.com'),"
        " (%s, 'studio/47', 'Rosewood 100%% & Co', 'info@xn--bcher-hochzeit-gsb.example')",
        read_supplier_id("studio/47"),
    )  # fmt: skip
    found = with_connection(database, lambda conn: find_supplier(conn, words))
    assert (found.external_id, found.name) == ("studio/47", "Rosewood 100% & Co")
