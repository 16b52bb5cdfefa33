"""What web SDKs ask for besides sending events: settings at their start, and routes that discard
what is not needed.

No key is asked for and no body is read: every answer is the same for everybody.
"""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter

from everafter.core.settings import Settings
from everafter.events.browser_rules import (
    IGNORED_PATHS,
    posthog_flags,
    posthog_script,
    posthog_settings,
    rudderstack_settings,
    segment_settings,
)

_CACHED = {"Cache-Control": "public, max-age=300"}


@get("/v1/projects/{key:str}/settings", include_in_schema=False, sync_to_thread=False)
def get_segment_settings(key: FromPath[str], state: State) -> Response[dict[str, Any]]:
    """For `cdnURL` of Segment's browser SDK: its only destination is this server."""
    settings: Settings = state.settings
    return Response(segment_settings(key, settings.base_url), headers=_CACHED)


@get("/sourceConfig", include_in_schema=False, sync_to_thread=False)
def get_rudderstack_settings(
    key: Annotated[str, QueryParameter(name="writeKey", max_length=300)] = "",
) -> Response[dict[str, Any]]:
    """For `configUrl` of RudderStack's browser SDK: the source is on, and nothing else is
    loaded."""
    return Response(rudderstack_settings(key), headers=_CACHED)


@get("/array/{key:str}/config", include_in_schema=False, sync_to_thread=False)
def get_posthog_settings(key: FromPath[str]) -> Response[dict[str, Any]]:
    """For PostHog's browser SDK: events are wanted, and nothing else."""
    return Response(posthog_settings(key), headers=_CACHED)


@get("/array/{key:str}/config.js", include_in_schema=False, sync_to_thread=False)
def get_posthog_script(key: FromPath[str]) -> Response[str]:
    """The same as a script, which it asks for first."""
    headers = {**_CACHED, "X-Content-Type-Options": "nosniff"}
    return Response(posthog_script(key), media_type="text/javascript", headers=headers)


@post(["/flags", "/decide"], status_code=200, include_in_schema=False, sync_to_thread=False)
def get_posthog_flags() -> dict[str, Any]:
    """There are no feature flags."""
    return posthog_flags()


@post(list(IGNORED_PATHS), status_code=200, include_in_schema=False, sync_to_thread=False)
def ignore() -> dict[str, Any]:
    """The SDKs' own metrics are accepted and discarded, so that they do not send them again."""
    return {"success": True}


handlers: list[Any] = [
    get_segment_settings,
    get_rudderstack_settings,
    get_posthog_settings,
    get_posthog_script,
    get_posthog_flags,
    ignore,
]
