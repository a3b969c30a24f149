"""The commands of the card, a module for each family, and the one table that finds them by class and instruction."""

from kazashi.card.commands.authentication import external_authenticate, get_challenge, internal_authenticate
from kazashi.card.commands.issuer import issuer_only, last_command_indicator, set_public_ic_key, set_session_key
from kazashi.card.commands.reading import get_data, read_binary, read_record
from kazashi.card.commands.selection import select
from kazashi.card.commands.signing import compute_digital_signature
from kazashi.card.commands.verification import change_key, change_reference_data, verify

HANDLERS = {
    0x0020: verify,
    0x0024: change_reference_data,
    0x0082: external_authenticate,
    0x0084: get_challenge,
    0x0088: internal_authenticate,
    0x00A4: select,
    0x00B0: read_binary,
    0x00B2: read_record,
    0x00CA: get_data,
    0x8006: issuer_only,  # ERASE ALL RECORDS
    0x802A: compute_digital_signature,
    0x8032: change_key,
    0x8050: issuer_only,  # LOCK DF
    0x8052: issuer_only,  # UNLOCK DF
    0x8054: issuer_only,  # UNLOCK KEY
    0x808A: issuer_only,  # MANAGE ATTRIBUTES
    0x80A2: set_public_ic_key,
    0x80AE: set_session_key,
    0x80FC: last_command_indicator,
}
"""Handlers by class and instruction. A handler answers the data of its response, or raises a Refusal."""
