"""Pages that open from a disk and fetch nothing: Python gathers what saved files hold, `templates/` and `static/` show it."""
