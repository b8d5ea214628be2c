"""Figures inside a page: JSON that no browser takes for markup."""

from __future__ import annotations

import plotly.graph_objects as go
from markupsafe import Markup


def embed_figure(figure: go.Figure) -> Markup:
    """The figure as JSON, to stand in a script element of type application/json."""
    text: str = figure.to_json()
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))
