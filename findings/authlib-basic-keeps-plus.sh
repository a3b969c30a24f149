#!/bin/sh
# Tool:      Authlib 1.9.10 (PyPI), authlib.oauth2.rfc6749.util.extract_basic_authorization
# Behaviour: An authorization server built with Authlib reads the credentials of a Basic header with percent-decoding
#            only. A blank in a client's name or secret that was sent as `+` arrives as `+`, so the client is unknown.
#            Of the two spellings `+` and `%20`, only the second one works.
# Guess:     RFC 6749 (2.3.1) has the client encode both values as application/x-www-form-urlencoded (appendix B), where
#            a blank is `+`. A server for that RFC decodes them so; a client that uses its language's form encoder
#            sends `+`.
# Remedy:    Give clients names and secrets without blanks, or decode the header with urllib.parse.unquote_plus.
# Seen:      2026-11-30: "('my+app', 's 1')" for the values `my+app` and `s%201`.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check authlib==1.9.10
cat > "$directory/try.py" <<'EOF'
import sys
from base64 import b64encode
from urllib.parse import quote_plus

from authlib.oauth2.rfc6749.util import extract_basic_authorization

sent = f"{quote_plus('my app')}:s%201"
read = extract_basic_authorization({"Authorization": "Basic " + b64encode(sent.encode()).decode()})
print(read)
if read != ("my+app", "s 1"):
    sys.exit("CHANGED: the blank of a client's name arrives")
EOF
"$directory/venv/bin/python" "$directory/try.py"
