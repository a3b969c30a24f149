#!/bin/sh
# Tool:      joserfc 1.8.0 (PyPI), the JOSE library beneath Authlib
# Behaviour: jwt.encode and jwt.decode work with RS256 and ES256 by default. With ES384 and a P-384 key they raise
#            UnsupportedAlgorithmError, "not recommended", until the algorithm is named: `algorithms=["ES384"]`.
# Guess:     RFC 7518 (3.1) has ES384 beside ES256, for a stronger curve, and the key's curve says which of the two is
#            meant. A library that takes ES256 without being told takes ES384 as well.
# Remedy:    Name the algorithm in every call, as RFC 8725 (3.1) recommends anyway. Authlib's OpenID Connect client
#            names those of the provider's metadata.
# Seen:      2026-11-30: "unsupported_algorithm: Algorithm of 'ES384' is not recommended", for encode and decode.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check joserfc==1.8.0
cat > "$directory/try.py" <<'EOF'
import sys

from joserfc import jwt
from joserfc.errors import UnsupportedAlgorithmError
from joserfc.jwk import ECKey, RSAKey

keys = {"RS256": RSAKey.generate_key(2048), "ES256": ECKey.generate_key("P-256"), "ES384": ECKey.generate_key("P-384")}
results = {}
for name, key in keys.items():
    token = jwt.encode({"alg": name}, {"sub": "x"}, key, algorithms=[name])
    assert jwt.decode(token, key, algorithms=[name]).claims == {"sub": "x"}
    for what, action in (("encode", lambda: jwt.encode({"alg": name}, {"sub": "x"}, key)),
                         ("decode", lambda: jwt.decode(token, key))):
        try:
            action()
            results[name, what] = "done"
        except UnsupportedAlgorithmError as error:
            results[name, what] = str(error)
for (name, what), result in results.items():
    print(name, what + ":", result)
refused = {name for (name, what), result in results.items() if result != "done"}
if refused != {"ES384"} or len({result for result in results.values() if result != "done"}) != 1:
    sys.exit("CHANGED: these are refused now: " + ", ".join(sorted(refused)))
EOF
"$directory/venv/bin/python" "$directory/try.py"
