"""The revisions of a PDF, and the bytes that belong to none of them.

An incremental update appends objects, a cross-reference section, and the address of that section (ISO 32000-2, 7.5.6).
What else stands behind a signature is not shown by a PDF reader, and another program may read it as something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyhanko.pdf_utils import generic, misc
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.xref import XRefSectionType, read_object_header

_WHITE_SPACE = b"\x00\t\n\x0c\r "
_OBJECT = re.compile(rb"[1-9]\d* \d+ obj(?=[\x00\t\n\x0c\r <\[(/0-9+\-tfn])")
_ANY_OBJECT = re.compile(rb"(?<![0-9])\d+[\x00\t\n\x0c\r ]+\d+[\x00\t\n\x0c\r ]+obj(?![A-Za-z])")
_TABLE = re.compile(
    rb"xref *(?:\r\n|\n|\r)(?:\d+ \d+ *(?:\r\n|\n|\r)(?:\d{10} \d{5} [nf](?: \n| \r|\r\n))*)+"
    rb"trailer[\x00\t\n\x0c\r ]*<<"
)
_END_OF_OBJECT = re.compile(rb"[\x00\t\n\x0c\r ]*endobj")
_END_OF_REVISION = re.compile(rb"[\x00\t\n\x0c\r ]*startxref[\x00\t\n\x0c\r ]+\d+[\x00\t\n\x0c\r ]+%%EOF")


def beyond_revisions(data: bytes, reader: PdfFileReader, begin: int, revision: int) -> str:
    """Describe the first thing from the byte `begin` on that is neither white space nor part of a later revision than
    `revision`, or return an empty string. Raises what pyHanko raises for a file that it cannot read.

    Each later revision must be spelled to the letter. Where it is not, readers repair the file: they look through all
    of its bytes for objects, and may show what stands inside of others.
    """
    place, starts = begin, set()
    for start, end in sorted(_spans(data, reader, revision + 1)):
        if start >= place and (stray := _first_visible(data, place, start)) is not None:
            return f"the bytes from offset {stray} on, which belong to no revision"
        place = max(place, end)
        starts.add(start)
    if (stray := _first_visible(data, place, len(data))) is not None:
        return f"the bytes from offset {stray} on, which belong to no revision"
    for found in _ANY_OBJECT.finditer(data, begin):
        if found.start() not in starts:
            return f"what looks like an object at offset {found.start()}, inside of another"
    return _contradiction(reader, revision)


def _contradiction(reader: PdfFileReader, revision: int) -> str:
    """What a later revision says of the whole file that is not so."""
    highest, root = 0, reader.get_historical_resolver(revision).root_ref
    for number in range(reader.xrefs.total_revisions):
        section, used = reader.xrefs.get_xref_container_info(number), reader.xrefs.explicit_refs_in_revision(number)
        own = [section.stream_ref] if section.stream_ref is not None else []
        highest = max(highest, *(one.idnum for one in (*used, *own)), 0)
        if number <= revision:
            continue
        if not used:
            return "an update without objects"
        if section.size != highest + 1:
            return "an update with a wrong number of objects"
        later = reader.get_historical_resolver(number).root_ref
        if (later.idnum, later.generation) != (root.idnum, root.generation):
            return "an update with another root"
    return ""


def _first_visible(data: bytes, start: int, end: int) -> int | None:
    visible = data[start:end].lstrip(_WHITE_SPACE)
    return end - len(visible) if visible else None


def _spans(data: bytes, reader: PdfFileReader, first: int) -> Iterator[tuple[int, int]]:
    """The byte ranges of the objects and cross-reference sections of the revisions from `first` on."""
    for revision in range(first, reader.xrefs.total_revisions):
        for reference in reader.xrefs.explicit_refs_in_revision(revision):
            offset = reader.xrefs.get_historical_ref(reference, revision)
            if isinstance(offset, int):
                yield offset, _end_of_object(data, reader, offset)
        section = reader.xrefs.get_xref_container_info(revision)
        end = section.end_location
        if section.xref_section_type is XRefSectionType.STREAM:
            end = _end_of_object(data, reader, section.start_location)
        else:
            _after(_TABLE, data, section.declared_startxref)
            reader.stream.seek(end)
            generic.DictionaryObject.read_from_stream(reader.stream, generic.TrailerReference(reader))
            end = _checked_end(data, reader.stream.tell(), b">>")
        yield min(section.declared_startxref, section.start_location), _after(_END_OF_REVISION, data, end)


def _end_of_object(data: bytes, reader: PdfFileReader, offset: int) -> int:
    reader.stream.seek(offset)
    _after(_OBJECT, data, offset)  # a reader that repairs files would not take anything else for an object
    number, generation = read_object_header(reader.stream, strict=True)
    read = generic.read_object(reader.stream, generic.Reference(number, generation, reader))
    end = reader.stream.tell()
    if isinstance(read, generic.StreamObject):
        end = _checked_end(data, end, b"endstream")
    elif isinstance(read, generic.DictionaryObject):
        end = _checked_end(data, end, b">>")
    return _after(_END_OF_OBJECT, data, end)


def _checked_end(data: bytes, end: int, ending: bytes) -> int:
    if not data[max(0, end - 64) : end].rstrip(_WHITE_SPACE).endswith(ending):
        raise misc.PdfReadError(f"a value does not end with {ending.decode()} before byte {end}")
    return end


def _after(ending: re.Pattern[bytes], data: bytes, place: int) -> int:
    found = ending.match(data, place)
    if found is None:
        raise misc.PdfReadError(f"a revision does not end as it must at byte {place}")
    return found.end()
