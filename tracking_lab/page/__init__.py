"""The report as a page for people: words in two languages, charts, tables and the two editions."""
