"""Records as one self-contained web page: charts with their numbers beside them, no script, nothing fetched.

`sides` says who stands on the page, `sections` turns their numbers into `charts`, `page` renders the template.
"""
