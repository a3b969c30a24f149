"""The card's commands, one module for each family, and the table of their handlers."""

from __future__ import annotations

from collections.abc import Callable

from kazashi.card.apdu import CommandApdu
from kazashi.card.commands.authentication import get_challenge, internal_authenticate
from kazashi.card.commands.issuer import issuer_only, last_command_indicator
from kazashi.card.commands.reading import get_data, read_binary, read_record
from kazashi.card.commands.secured import secured, set_session_key
from kazashi.card.commands.selection import select
from kazashi.card.commands.signing import compute_digital_signature, perform_security_operation
from kazashi.card.commands.terminal import external_authenticate, set_public_ic_key
from kazashi.card.commands.verification import change_key, change_reference_data, verify
from kazashi.card.instruction import Instruction
from kazashi.card.rule import RuledResponse
from kazashi.card.session import Session

Handler = Callable[[Session, CommandApdu], RuledResponse]

HANDLERS: dict[int, Handler] = {
    Instruction.VERIFY: verify,
    Instruction.CHANGE_REFERENCE_DATA: change_reference_data,
    Instruction.EXTERNAL_AUTHENTICATE: external_authenticate,
    Instruction.GET_CHALLENGE: get_challenge,
    Instruction.INTERNAL_AUTHENTICATE: internal_authenticate,
    Instruction.SELECT: select,
    Instruction.READ_BINARY: read_binary,
    Instruction.READ_RECORD: read_record,
    Instruction.GET_DATA: get_data,
    Instruction.ERASE_ALL_RECORDS: issuer_only,
    Instruction.COMPUTE_DIGITAL_SIGNATURE: compute_digital_signature,
    Instruction.CHANGE_KEY: change_key,
    Instruction.LOCK_DF: issuer_only,
    Instruction.UNLOCK_DF: issuer_only,
    Instruction.UNLOCK_KEY: issuer_only,
    Instruction.MANAGE_ATTRIBUTES: issuer_only,
    Instruction.SET_PUBLIC_IC_KEY: set_public_ic_key,
    Instruction.SET_SESSION_KEY: set_session_key,
    Instruction.LAST_COMMAND_INDICATOR: last_command_indicator,
    Instruction.SECURED_VERIFY: secured(verify),
    Instruction.SECURED_SELECT: secured(select),
    Instruction.SECURED_READ_BINARY: secured(read_binary),
}
"""Handlers by class and instruction. A handler returns its response, or raises CommandRejected."""

ELLIPTIC_HANDLERS: dict[int, Handler] = {
    **{known: handler for known, handler in HANDLERS.items() if known != Instruction.COMPUTE_DIGITAL_SIGNATURE},
    Instruction.PERFORM_SECURITY_OPERATION: perform_security_operation,
}
"""The handlers of a card with EC keys."""
