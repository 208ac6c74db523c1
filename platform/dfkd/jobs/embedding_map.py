"""A map of a student's embeddings of synthetic images: by class a colour, by noise source a shape."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dfkd.assembly import Materials
from dfkd.jobs.students import load_student
from dfkd.jobs.synthetic_images import draw_images
from dfkd.settings.experiment import ExperimentSettings

IMAGES = 400  # t-SNE takes some seconds for them on one core
LARGEST_PERPLEXITY = 30.0  # the default of scikit-learn (1.7)
SYMBOLS = ("circle", "diamond", "square", "cross", "x", "triangle-up", "star", "hexagon")


def embedding_map(settings: ExperimentSettings, materials: Materials, state: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the map as one HTML file; none for a student of unknown features.

    Args:
        settings: of a finished distillation.
        materials: of it.
        state: its checkpoint.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008, as scikit-learn computes it.
    """
    student = load_student(settings, materials.teacher, state)
    if not hasattr(student, "forward_features"):
        return {}
    batch = draw_images(settings, materials, state, count=IMAGES)
    with torch.no_grad():
        pixels = materials.teacher.normalise(batch.images)
        features: Tensor = student.forward_features(pixels)  # type: ignore[operator]
        classes = materials.teacher.model(pixels).argmax(dim=1) if batch.labels is None else batch.labels
    sources = torch.zeros_like(classes) if batch.sources is None else batch.sources
    made_for = "what the teacher takes it for" if batch.labels is None else "what it was made for"
    figure = _draw(_plane(features), classes, sources, materials.teacher.class_names, coloured_by=made_for)
    return {"plots/embedding_map.html": figure.to_html(include_plotlyjs=True).encode()}


def _plane(features: Tensor) -> Tensor:
    """Return where t-SNE puts features [N, D] in the plane, [N, 2]; the same for the same features."""
    from sklearn.manifold import TSNE

    perplexity = min(LARGEST_PERPLEXITY, (len(features) - 1) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that are all alike
        placed = TSNE(perplexity=perplexity, init="random", random_state=0).fit_transform(features.double().numpy())
    return torch.from_numpy(placed)


def _draw(plane: Tensor, classes: Tensor, sources: Tensor, class_names: tuple[str, ...], *, coloured_by: str) -> Any:
    import plotly.express as px
    import plotly.graph_objects as go

    figure, colours = go.Figure(), px.colors.qualitative.Dark24
    for index in classes.unique().tolist():
        rows = classes == index
        figure.add_scatter(
            x=plane[rows, 0].tolist(),
            y=plane[rows, 1].tolist(),
            mode="markers",
            name=class_names[index],
            marker={
                "color": colours[index % len(colours)],
                "symbol": [SYMBOLS[source % len(SYMBOLS)] for source in sources[rows].tolist()],
            },
            text=[f"noise source {source + 1}" for source in sources[rows].tolist()],
        )
    for source in sources.unique().tolist():  # what the shapes mean, for a picture that is printed
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=f"noise source {source + 1}",
            marker={"color": "grey", "symbol": SYMBOLS[source % len(SYMBOLS)]},
        )
    figure.update_layout(
        title=f"The student's features of {len(plane)} synthetic images (t-SNE)<br>"
        f"<sup>colour: {coloured_by}; shape: noise source</sup>",
        xaxis_visible=False,
        yaxis_visible=False,
    )
    return figure
