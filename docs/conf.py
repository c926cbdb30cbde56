"""How the documentation is built: ``make docs``."""

from importlib.metadata import version as _version

project = "fedsim"
author = "The fedsim contributors"
copyright = "The fedsim contributors, Apache-2.0"
release = _version("fedsim-edge")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples", "results"]
nitpicky = False

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = False

html_theme = "furo"
html_title = f"fedsim {release}"

_kept: dict[str, list[str]] = {}


def _keep(app, what, name, obj, options, lines):
    if what == "attribute":
        _kept[name] = list(lines)


def _put_back(app, what, name, obj, options, lines):
    if name in _kept:
        lines[:] = _kept.pop(name)


def setup(app):
    """Leave attributes alone: napoleon takes what is before a colon for their type."""
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _put_back, priority=600)
