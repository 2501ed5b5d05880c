"""What the shipped graphs and the generated weights must hash to; `tools/build_resnet_graph.py` prints these."""

from __future__ import annotations

GRAPH_SHA256: dict[str, str] = {
    "roof": "4cddb7905701410de526279830d2119fa5d3d5813117e8a4861adcf9f0f9ace4",
    "resnet50": "0d8f5fc8c274a0340d6fdc14b8335ad9f469984254392a8e797a549b94f5d0b8",
    "resnet50-int8": "a3abc0bfa63f8493c318313efe6a000a87c4ce797da87bedde86250d0e797203",
    "resnet152": "99eb2dc7e2937acf7ff554443395690622f9600ea3b83488ddde69694f9e4938",
    "resnet152-int8": "b3edad654508f09c6de5756d7650cd8bd4e043ce168829b0b7df815b87a57dbf",
}

WEIGHTS_SHA256: dict[str, str] = {
    "resnet50": "adcd89dfb318668eea27baa26a3c435a514866486f0cabc232e3e7d886789aea",
    "resnet50-int8": "c503b739761e60043811ea330213fe556ac1a6d2268f79cc33072d2ed4c7bf9e",
    "resnet152": "3a2d075e8dfba20a0447a726bd67127a4fd5d703a03bbdac1ccca7e24cc8e238",
    "resnet152-int8": "a175e6962e42c9cfdbd66bd52b2c7e2ee6a635995521b2d4d23d51b785af0144",
}

ACTIVATIONS_SHA256: dict[str, str] = {
    "resnet50-int8": "1a39e72aa99edc415aba084ddcbdb8d306344b7f94aaa75f455f3f9e6b369119",
    "resnet152-int8": "acc47a0e9ccd4f7ab9451eb73d158b3ebdf2fdd682e6758d0c8db16997522299",
}
"""The tables of scales beside the INT8 graphs."""
