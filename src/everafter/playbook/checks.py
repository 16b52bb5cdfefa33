"""What `everafter doctor` checks of the playbook."""

from everafter.core.checks import Check
from everafter.core.errors import InputError
from everafter.core.formatting import plural
from everafter.core.settings import Settings
from everafter.playbook.loading import load_playbook, playbook_path


def check_playbook(settings: Settings) -> Check:
    """Whether the playbook in force is valid."""
    try:
        playbook = load_playbook(settings)
    except InputError as error:
        lines = error.message.splitlines()
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        return Check(
            "playbook",
            "bad",
            " ".join(lines[:2]) + more,
            f"everafter playbook check {playbook_path(settings)}",
        )
    segments = plural(len(playbook.segments), "segment")
    triggers = plural(sum(trigger.enabled for trigger in playbook.triggers.values()), "trigger")
    return Check("playbook", "ok", f"{playbook.name}: {segments}, {triggers}")
