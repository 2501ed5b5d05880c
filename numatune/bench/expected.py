"""What the shipped graphs and the generated weights must hash to; `tools/build_resnet_graph.py` prints these."""

from __future__ import annotations

GRAPH_SHA256: dict[str, str] = {
    "resnet50": "eb148bddb67f6186971380f7c175fe639236332055c0baeac93f07e03d98f3dd",
    "resnet152": "4c4c0619629903ea43775d2811767ac8eae1c075f5e113c690eb56dae860befa",
}

WEIGHTS_SHA256: dict[str, str] = {
    "resnet50": "adcd89dfb318668eea27baa26a3c435a514866486f0cabc232e3e7d886789aea",
    "resnet152": "3a2d075e8dfba20a0447a726bd67127a4fd5d703a03bbdac1ccca7e24cc8e238",
}
