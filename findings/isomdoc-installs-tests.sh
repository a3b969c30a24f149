#!/bin/sh
# Tool:      isomdoc 0.0.5 (PyPI), its wheel
# Behaviour: Installing isomdoc puts the packages `tests` and `examples` into site-packages, beside `isomdoc`. A program
#            whose own `tests` are not first on sys.path imports those of isomdoc.
# Guess:     A wheel has the package after which it is named. Its project's tests stay in the source.
# Remedy:    Give isomdoc an environment of its own, or delete both folders after the installation.
# Seen:      2026-11-30: "tests, examples".
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check isomdoc==0.0.5
cat > "$directory/try.py" <<'EOF'
import importlib.util
import sys

found = [name for name in ("tests", "examples") if importlib.util.find_spec(name)]
print(", ".join(found))
if found != ["tests", "examples"]:
    sys.exit("CHANGED: isomdoc installs itself only")
EOF
cd "$directory"
"$directory/venv/bin/python" "$directory/try.py"
