#!/bin/sh
# Tool:      lxml 6.1.3 (PyPI), etree.tostring(method="c14n", exclusive=True, inclusive_ns_prefixes=...)
# Behaviour: "#default" in the list of prefixes is dropped without a word: lxml keeps only prefixes that occur as names
#            in the document. The default namespace is not written, so the digest of a signature whose
#            InclusiveNamespaces has "#default" does not match. Java's canonicaliser, in the same script, writes it.
# Guess:     "#default" works: Exclusive XML Canonicalization (section 3) defines this token, libxml2 knows it, and the
#            other prefixes of the same list do work.
# Remedy:    Refuse such a list by name, or give the element's parent to another canonicaliser.
# Seen:      2026-11-30, OpenJDK 17:
#            lxml: <q:b xmlns:q="urn:q" xmlns:z="urn:z"></q:b>
#            Java: <q:b xmlns="urn:x" xmlns:q="urn:q" xmlns:z="urn:z"></q:b>
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check lxml==6.1.3
cd "$directory"
printf '%s' '<a xmlns="urn:x" xmlns:z="urn:z"><q:b xmlns:q="urn:q"/></a>' > document.xml
cat > try.py <<'EOF'
from lxml import etree

element = etree.parse("document.xml").getroot()[0]
print(etree.tostring(element, method="c14n", exclusive=True, inclusive_ns_prefixes=["#default", "z"]).decode())
EOF
cat > Try.java <<'EOF'
import com.sun.org.apache.xml.internal.security.Init;
import com.sun.org.apache.xml.internal.security.c14n.Canonicalizer;
import java.io.ByteArrayOutputStream;
import java.io.File;
import javax.xml.parsers.DocumentBuilderFactory;

public class Try {
  public static void main(String[] arguments) throws Exception {
    DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
    factory.setNamespaceAware(true);
    var root = factory.newDocumentBuilder().parse(new File("document.xml")).getDocumentElement();
    Init.init();
    var out = new ByteArrayOutputStream();
    var canonicalizer = Canonicalizer.getInstance("http://www.w3.org/2001/10/xml-exc-c14n#");
    canonicalizer.canonicalizeSubtree(root.getFirstChild(), "#default z", out);
    System.out.println(out);
  }
}
EOF
lxml=$("$directory/venv/bin/python" try.py)
module=java.xml.crypto/com.sun.org.apache.xml.internal.security
java=$(java --add-exports "$module=ALL-UNNAMED" --add-exports "$module.c14n=ALL-UNNAMED" Try.java)
echo "lxml: $lxml"
echo "Java: $java"
[ "$java" = '<q:b xmlns="urn:x" xmlns:q="urn:q" xmlns:z="urn:z"></q:b>' ] || { echo "CHANGED: Java"; exit 1; }
[ "$lxml" = '<q:b xmlns:q="urn:q" xmlns:z="urn:z"></q:b>' ] || { echo "CHANGED: lxml"; exit 1; }
