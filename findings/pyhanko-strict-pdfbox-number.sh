#!/bin/sh
# Tool:      Apache PDFBox 3.0.6 (Maven Central) and pyHanko 0.38.0 (PyPI)
# Behaviour: A PDF that PDFBox wrote with a cross-reference stream and then updated twice, as for a signature and its
#            validation material, cannot be opened by pyHanko: PdfStrictReadError. PDFBox does not count the object
#            number of its own cross-reference stream, so the next update gives the number to a new object, and
#            pyHanko's strict mode, which is the default and the one for signatures, takes that for an overwritten
#            stream. PDFBox 3.0.8 counts the number. EU DSS 6.2 has 3.0.4 inside, so its PAdES-LT files are affected.
# Guess:     Both are the usual libraries for signed PDFs, other readers open the file without a word, and the standard
#            does not keep a number for a cross-reference stream that nothing refers to.
# Remedy:    Write with PDFBox 3.0.8 or without cross-reference streams (CompressParameters.NO_COMPRESSION); read with
#            PdfFileReader(..., strict=False) and judge what stands behind the signature with care.
# Seen:      2026-11-30, OpenJDK 17: "XRef stream objects must not be clobbered in strict mode."
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check pyhanko==0.38.0
cd "$directory"
for version in 3.0.6 3.0.8; do
  mvn --quiet dependency:copy "-Dartifact=org.apache.pdfbox:pdfbox-app:$version" "-DoutputDirectory=$directory"
done
cat > Twice.java <<'EOF'
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.pdfbox.Loader;
import org.apache.pdfbox.cos.COSDictionary;
import org.apache.pdfbox.cos.COSName;
import org.apache.pdfbox.cos.COSObject;
import org.apache.pdfbox.pdmodel.PDDocument;
import org.apache.pdfbox.pdmodel.PDPage;

public class Twice {
  public static void main(String[] arguments) throws Exception {
    var out = new ByteArrayOutputStream();
    try (PDDocument document = new PDDocument()) {
      document.addPage(new PDPage());
      document.save(out);
    }
    for (int round = 1; round <= 2; round++) {
      byte[] before = out.toByteArray();
      out.reset();
      try (PDDocument document = Loader.loadPDF(before)) {
        var added = new COSDictionary();
        added.setInt(COSName.getPDFName("Round"), round);
        added.setNeedToBeUpdated(true);
        var root = document.getDocumentCatalog().getCOSObject();
        root.setItem(COSName.getPDFName("Added" + round), new COSObject(added));
        root.setNeedToBeUpdated(true);
        document.saveIncremental(out);
      }
    }
    Files.write(Path.of(arguments[0]), out.toByteArray());
  }
}
EOF
cat > try.py <<'EOF'
import sys
from pyhanko.pdf_utils.reader import PdfFileReader

with open(sys.argv[1], "rb") as file:
    try:
        PdfFileReader(file)
        print("opened")
    except Exception as error:
        print(error)
EOF
for version in 3.0.6 3.0.8; do
  java -cp "pdfbox-app-$version.jar" Twice.java "$version.pdf"
done
old=$("$directory/venv/bin/python" try.py 3.0.6.pdf)
new=$("$directory/venv/bin/python" try.py 3.0.8.pdf)
echo "3.0.6: $old"
echo "3.0.8: $new"
[ "$old" = "XRef stream objects must not be clobbered in strict mode." ] || { echo "CHANGED: 3.0.6"; exit 1; }
[ "$new" = "opened" ] || { echo "CHANGED: 3.0.8"; exit 1; }
