"""Requests of web SDKs besides events: their settings, and routes whose data is discarded.

They need no key and read no body: every response is the same for everybody.
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
    """Settings for `cdnURL` of Segment's browser SDK: the only destination is this server."""
    settings: Settings = state.settings
    return Response(segment_settings(key, settings.base_url), headers=_CACHED)


@get("/sourceConfig", include_in_schema=False, sync_to_thread=False)
def get_rudderstack_settings(
    key: Annotated[str, QueryParameter(name="writeKey", max_length=300)] = "",
) -> Response[dict[str, Any]]:
    """Settings for `configUrl` of RudderStack's browser SDK: the source is enabled, and nothing
    else is loaded."""
    return Response(rudderstack_settings(key), headers=_CACHED)


@get("/array/{key:str}/config", include_in_schema=False, sync_to_thread=False)
def get_posthog_settings(key: FromPath[str]) -> Response[dict[str, Any]]:
    """Settings for PostHog's browser SDK: events only."""
    return Response(posthog_settings(key), headers=_CACHED)


@get("/array/{key:str}/config.js", include_in_schema=False, sync_to_thread=False)
def get_posthog_script(key: FromPath[str]) -> Response[str]:
    """The same settings as a script, which the SDK requests first."""
    headers = {**_CACHED, "X-Content-Type-Options": "nosniff"}
    return Response(posthog_script(key), media_type="text/javascript", headers=headers)


@post(["/flags", "/decide"], status_code=200, include_in_schema=False, sync_to_thread=False)
def get_posthog_flags() -> dict[str, Any]:
    """No feature flags."""
    return posthog_flags()


@post(list(IGNORED_PATHS), status_code=200, include_in_schema=False, sync_to_thread=False)
def ignore() -> dict[str, Any]:
    """Accept and discard the SDKs' own metrics, so that they are not sent again."""
    return {"success": True}


handlers: list[Any] = [
    get_segment_settings,
    get_rudderstack_settings,
    get_posthog_settings,
    get_posthog_script,
    get_posthog_flags,
    ignore,
]
