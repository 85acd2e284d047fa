"""Say in JSON which model a service has, and what is decided and guaranteed of it."""

from __future__ import annotations

from typing import Any

import rareseg
from rareseg.prediction.detector import Detector
from rareseg.run.outputs.guarantee_text import statement_lines


def model_reply(detector: Detector) -> dict[str, Any]:
    """Return classes, regions, points and certificates of a detector as JSON values.

    Certificates are those of the points in use, each in one sentence; of one that another
    arithmetic than that of this service voids, the sentence says so.
    """
    model = detector.model
    arithmetic = model.arithmetic(detector.device.type)
    certificates = statement_lines(detector.decisions, arithmetic)
    facts = model.training.images
    return {
        "classes": dict(zip(model.classes.names, model.classes.values, strict=True)),
        "regions": {
            region: {
                "classes": [model.classes.names[index] for index in members],
                "threshold": detector.points[region].threshold,
                "gate": detector.points[region].gate,
                "smallest_component": detector.points[region].smallest_component.plain,
                "point_chosen": region in detector.decisions.points,
                "certificates": list(certificates.get(region, ())),
            }
            for region, members in model.classes.regions.items()
        },
        "channels": model.channels,
        "files_per_image": model.training.files_per_case,
        "dimension": model.recipe.data.dimension if facts is None else facts.dimension,
        "precision": arithmetic["precision"],
        "computed_by": arithmetic["backend"],
        "device": str(detector.device),
        "weights_sha256": model.digest,
        "version": rareseg.__version__,
    }
