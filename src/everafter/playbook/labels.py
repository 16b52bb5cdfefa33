"""Names of what a playbook is about, for pages. Pure."""

from everafter.core.formatting import humanize, sentence
from everafter.playbook.model import Dimension, Playbook

DIMENSION_LABELS: dict[Dimension, str] = {
    "login": "Logins",
    "feature_adoption": "Features in use",
    "client_activity": "Active clients",
    "form_completion": "Forms completed",
    "journey_performance": "Journey emails opened",
}


def vendor_type_title(vendor_type: str | None, playbook: Playbook) -> str:
    """Return the title of the vendor type's segment, or the vendor type's own name."""
    if not vendor_type:
        return "Unknown vendor type"
    segment = playbook.segments.get(vendor_type)
    return segment.title if segment else sentence(humanize(vendor_type))
