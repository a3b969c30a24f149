"""A terminal that uses the authentication key without a PIN: python terminal_login.py terminal.cvc terminal.pem

It needs pyscard, openssl, and a running instance. docs/card.md describes the commands.
"""

import subprocess
import sys
from pathlib import Path

from smartcard.System import readers

certificate, key = Path(sys.argv[1]).read_bytes(), sys.argv[2]
cut = 10 + int.from_bytes(certificate[8:10], "big")  # the body, 5F4E, begins at byte 5
card = readers()[0].createConnection()
card.connect()


def send(header, data=b"", le=b""):
    """Send a command; print its header and the status word, and return the data of the response."""
    length = bytes([len(data)]) if len(data) < 256 else b"\0" + len(data).to_bytes(2, "big")
    response, *status = card.transmit(list(bytes.fromhex(header) + (length + data if data else b"") + le))
    print(header, bytes(status).hex())
    return bytes(response)


send("00A4040C", bytes.fromhex("D392F000260100000001"))  # the JPKI application
send("00A4020C", bytes.fromhex("0016"))  # the key of the authority for terminals
send("80A206C1", certificate[:cut])
send("80A200C1", certificate[cut:])
challenge = send("00840000", le=b"\x10")
signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=challenge, capture_output=True, check=True)
send("00820096", signed.stdout)
send("00A4020C", bytes.fromhex("0017"))  # the authentication key
digest_info = bytes.fromhex("3031300D060960864801650304020105000420") + bytes(32)
signature = send("802A0080", digest_info, le=b"\0")
print(len(signature), "bytes of signature, and no PIN")
