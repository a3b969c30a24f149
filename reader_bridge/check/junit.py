"""Reports as JUnit XML for continuous integration."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport

_UNKNOWN_TO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: CheckReport) -> str:
    """Return a report as one test suite. A broken check is an error, a failed one a failure, and one that does not
    apply is skipped."""
    suite = ET.Element(
        "testsuite",
        name=f"kazashi reader check: {report.reader}",
        tests=str(len(report.results) + (not report.complete)),
        failures=str(report.count(CheckOutcome.FAILED)),
        errors=str(report.count(CheckOutcome.BROKEN) + (not report.complete)),
        skipped=str(report.count(CheckOutcome.NOT_APPLICABLE)),
        time=f"{report.seconds:.3f}",
        timestamp=report.at,
    )
    for result in report.results:
        case = ET.SubElement(suite, "testcase", classname=result.group, name=f"{result.check}: {result.title}")
        if result.outcome is CheckOutcome.FAILED:
            ET.SubElement(case, "failure", message=result.detail).text = "\n".join(result.observed)
        elif result.outcome is CheckOutcome.BROKEN:
            ET.SubElement(case, "error", message=result.detail).text = "\n".join(result.observed)
        elif result.outcome is CheckOutcome.NOT_APPLICABLE:
            ET.SubElement(case, "skipped", message=result.detail)
        if result.observed or result.measured:
            measured = [f"{name}: {value}" for name, value in result.measured.items()]
            ET.SubElement(case, "system-out").text = "\n".join([*result.observed, *measured])
    if not report.complete:
        case = ET.SubElement(suite, "testcase", classname="run", name="the run was completed")
        ET.SubElement(case, "error", message="the reader was removed or stopped responding before the last check")
    for element in suite.iter():
        element.attrib = {name: _printable(value) for name, value in element.attrib.items()}
        element.text = _printable(element.text) if element.text else None
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """Replace the characters that XML 1.0 does not allow."""
    return _UNKNOWN_TO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
