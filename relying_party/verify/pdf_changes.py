"""Which changes to a PDF after a signature add nothing but validation material.

pyHanko compares the revisions. Its own rules also let the title and the author change, and let objects appear that
nothing uses; here the document information may change in what programs write there about themselves only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lxml import etree
from pyhanko.pdf_utils import generic, xref
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader
from pyhanko.sign.diff_analysis import (
    CatalogModificationRule,
    DiffResult,
    DocInfoRule,
    DSSCompareRule,
    FormUpdatingRule,
    GenericFieldModificationRule,
    MetadataUpdateRule,
    ModificationLevel,
    ObjectStreamRule,
    SigFieldCreationRule,
    SigFieldModificationRule,
    StandardDiffPolicy,
    XrefStreamRule,
)

from kazashi.relying_party.verify.finding import Finding, VerificationFailed


def _with_fewer_entries(parse: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def parsed(stream: Any, strict: bool = True) -> Iterator[Any]:
        counts = [int(count) for count in list(stream.get("/Index", [0, stream.get("/Size")]))[1::2]]
        if min(counts) < 0 or sum(counts) > MAX_OBJECTS or sum(int(width) for width in stream.get("/W")) < 1:
            raise VerificationFailed(Finding.UNSUPPORTED, f"a PDF that announces more than {MAX_OBJECTS:,} objects")
        return parse(stream, strict=strict)

    return parsed


MAX_OBJECTS = 1_000_000
xref.parse_xref_stream = _with_fewer_entries(xref.parse_xref_stream)
"""pyHanko takes the number of entries from the file: a few bytes could ask for more than memory holds."""


class RevisedPdf(PdfFileReader):
    """A PDF file with views of its revisions that can be compared."""

    def get_historical_resolver(self, revision: int) -> HistoricalResolver:
        """Return the view of a revision; 0 is the oldest."""
        if revision not in self._historical_resolver_cache:
            self._historical_resolver_cache[revision] = _Revision(self, revision)
        return self._historical_resolver_cache[revision]


class _Revision(HistoricalResolver):
    """A revision in which the number of a cross-reference stream is free for the next one, if nothing uses it: PDFBox
    does not count these numbers, and gives them again.

    pyHanko follows every path from the root to an object, and a small file can have more paths than memory. After
    `MAX_STEPS` objects on paths the file is not judged.
    """

    _steps = 0

    def __call__(self, reference: generic.Reference) -> Any:
        """Return the object with that reference. Raises VerificationFailed after too many of them."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise VerificationFailed(
                Finding.UNSUPPORTED, f"a PDF whose objects refer to each other in more than {MAX_STEPS:,} ways"
            )
        return super().__call__(reference)

    def is_ref_unassignable(self, reference: generic.Reference) -> bool:
        """Whether a later revision may use a number for something new."""
        if super().is_ref_unassignable(reference):
            return True
        streams = {self.reader.xrefs.get_xref_container_info(one).stream_ref for one in range(self.revision + 1)}
        if reference not in streams:
            return False
        self._load_reverse_xref_cache()
        return not self._get_usages_of_ref(reference)


MAX_STEPS = 100_000
"""Three signatures on 1,000 pages take 6,000."""

_OF_PROGRAMS = {"ModDate", "Producer", "ModifyDate", "MetadataDate", "InstanceID", "History", "xmptk"}
"""The entries of the document information, and the properties of XMP, that programs write when they save a file."""


def _information(revision: HistoricalResolver) -> dict[str, str]:
    if "/Info" not in revision.trailer_view:
        return {}
    reference = revision.trailer_view.get_value_as_reference("/Info")
    entries = revision.reader.get_object(reference, revision=revision.revision)
    return {key: str(entries[key]) for key in entries if key[1:] not in _OF_PROGRAMS}


def _metadata(revision: HistoricalResolver) -> bytes:
    """The XMP metadata in canonical form, without what programs write about themselves and without white space."""
    if "/Metadata" not in revision.root:
        return b""
    reference = revision.root.get_value_as_reference("/Metadata")
    data = revision.reader.get_object(reference, revision=revision.revision).data
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = etree.fromstring(data, parser)
    for element in list(root.iter()):
        element.text, element.tail = (element.text or "").strip(), (element.tail or "").strip()
        if not isinstance(element.tag, str):
            continue
        for name in [name for name in element.attrib if etree.QName(name).localname in _OF_PROGRAMS]:
            del element.attrib[name]
        if etree.QName(element).localname in _OF_PROGRAMS and element.getparent() is not None:
            element.getparent().remove(element)
    return bytes(etree.tostring(root, method="c14n", exclusive=True, with_comments=True))


POLICY = StandardDiffPolicy(
    global_rules=[
        CatalogModificationRule(),
        *(rule().as_qualified(ModificationLevel.LTA_UPDATES)
          for rule in (XrefStreamRule, ObjectStreamRule, DSSCompareRule, DocInfoRule, MetadataUpdateRule)),
    ],
    form_rule=FormUpdatingRule(
        field_rules=[SigFieldCreationRule(), SigFieldModificationRule(), GenericFieldModificationRule()]
    ),
    ignore_orphaned_objects=False,
)  # fmt: skip
"""Compares the revisions of a file."""

_CHANGES = {
    ModificationLevel.FORM_FILLING: "a form that was filled in",
    ModificationLevel.ANNOTATIONS: "annotations that were added",
    ModificationLevel.OTHER: "changes that were made",
}


def beyond_validation_material(signature: Any, stamps: Sequence[Any]) -> str:
    """Return what has changed after a signature besides validation material, or an empty string. Both are pyHanko's:
    the signature after its comparison with `POLICY`, and the document time-stamps."""
    result = signature.diff_result
    level = result.modification_level if isinstance(result, DiffResult) else ModificationLevel.OTHER
    if level is ModificationLevel.FORM_FILLING and _is_only_stamped(signature, stamps):
        level = ModificationLevel.LTA_UPDATES
    if level <= ModificationLevel.LTA_UPDATES and _is_shown_otherwise(signature):
        level = ModificationLevel.OTHER
    return _CHANGES.get(level, "")


def _is_shown_otherwise(signature: Any) -> bool:
    """Whether the title and the like, or the defaults that fields are drawn with, such as their font, have changed
    since a signature. pyHanko lets these pass (ISO 32000-2, 12.7.3 and 14.3)."""
    reader, revision = signature.reader, signature.signed_revision
    before = reader.get_historical_resolver(revision)
    after = reader.get_historical_resolver(reader.xrefs.total_revisions - 1)
    if _information(before) != _information(after) or _metadata(before) != _metadata(after):
        return True
    defaults, used = _defaults(before)
    later = {
        (reference.idnum, reference.generation)
        for number in range(revision + 1, reader.xrefs.total_revisions)
        for reference in reader.xrefs.explicit_refs_in_revision(number)
    }
    return defaults != _defaults(after)[0] or any((one.idnum, one.generation) in later for one in used)


def _defaults(revision: HistoricalResolver) -> tuple[dict[str, str], set[generic.Reference]]:
    """The form's defaults, as text, and the references to the objects that they use."""
    if "/AcroForm" not in revision.root:
        return {}, set()
    form = revision.root["/AcroForm"]
    entries = {key: form.raw_get(key) for key in _DEFAULTS if key in form}
    used = {reference for entry in entries.values() for reference in revision.collect_dependencies(entry)}
    return {key: repr(entry) for key, entry in entries.items()}, used


_DEFAULTS = ("/DR", "/DA", "/Q", "/NeedAppearances", "/XFA")


def _is_only_stamped(signature: Any, stamps: Sequence[Any]) -> bool:
    """Whether the forms that changed are fields of later time-stamps that show nothing. Some programs, such as PDFBox,
    give these an appearance, which pyHanko takes for one that people see."""
    unseen = {
        stamp.fq_name
        for stamp in stamps
        if stamp.signed_revision > signature.signed_revision and _is_without_area(stamp.sig_field)
    }
    before = signature.reader.get_historical_resolver(signature.signed_revision)
    field = signature.sig_field
    if _appearance(field) == _appearance(before(field.container_ref)):
        unseen.add(signature.fq_name)
    return bool(signature.diff_result.changed_form_fields <= unseen)


def _is_without_area(field: Any) -> bool:
    try:
        left, bottom, right, top = (float(number) for number in field["/Rect"])
    except (KeyError, TypeError, ValueError):
        return False
    return left == right or bottom == top


def _appearance(field: Any) -> bytes:
    try:
        return bytes(field["/AP"]["/N"].data)
    except (KeyError, AttributeError):
        return b""
