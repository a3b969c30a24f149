"""Class and instruction bytes of commands by name (ISO 7816-4, sections 5.4 and 11; JICSAP 1.1; PC/SC part 3)."""

from __future__ import annotations

from enum import IntEnum


class CommandClass(IntEnum):
    """The class byte (CLA) of a command."""

    INTERINDUSTRY = 0x00
    LOGICAL_CHANNEL_1 = 0x01
    PROPRIETARY_SECURE_MESSAGING = 0x04
    SECURE_MESSAGING = 0x08
    SECURE_MESSAGING_WITH_HEADER = 0x0C
    PROPRIETARY = 0x80
    UNASSIGNED = 0xF0
    READER = 0xFF
    """Commands that a contactless reader handles itself (PC/SC part 3, section 3.2)."""


class Instruction(IntEnum):
    """A command, as the two-byte number of its class and instruction bytes.

    The instruction byte alone is ambiguous: 2A is PERFORM SECURITY OPERATION in class 00 and COMPUTE DIGITAL SIGNATURE
    in class 80.
    """

    VERIFY = 0x0020
    MANAGE_SECURITY_ENVIRONMENT = 0x0022
    CHANGE_REFERENCE_DATA = 0x0024
    PERFORM_SECURITY_OPERATION = 0x002A
    RESET_RETRY_COUNTER = 0x002C
    MANAGE_CHANNEL = 0x0070
    EXTERNAL_AUTHENTICATE = 0x0082
    GET_CHALLENGE = 0x0084
    INTERNAL_AUTHENTICATE = 0x0088
    SELECT = 0x00A4
    READ_BINARY = 0x00B0
    READ_RECORD = 0x00B2
    GET_RESPONSE = 0x00C0
    GET_DATA = 0x00CA
    SECURED_VERIFY = 0x0820
    SECURED_SELECT = 0x08A4
    SECURED_READ_BINARY = 0x08B0
    ERASE_ALL_RECORDS = 0x8006
    COMPUTE_DIGITAL_SIGNATURE = 0x802A
    CHANGE_KEY = 0x8032
    LOCK_DF = 0x8050
    UNLOCK_DF = 0x8052
    UNLOCK_KEY = 0x8054
    MANAGE_ATTRIBUTES = 0x808A
    SET_PUBLIC_IC_KEY = 0x80A2
    SET_SESSION_KEY = 0x80AE
    LAST_COMMAND_INDICATOR = 0x80FC
    GET_UID = 0xFFCA

    @property
    def cla(self) -> int:
        """The class byte."""
        return self >> 8

    @property
    def ins(self) -> int:
        """The instruction byte."""
        return self & 0xFF

    @property
    def title(self) -> str:
        """The name as in the standards, such as `READ BINARY`, with `(reader)` if the reader handles the command."""
        title = self.name.replace("_", " ")
        return f"{title} (reader)" if self.cla == CommandClass.READER else title
