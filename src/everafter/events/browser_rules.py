"""The paths that web SDKs call, and what they ask for before they send events."""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

CALLS_BY_EMAIL = {
    "a": "alias",
    "g": "group",
    "i": "identify",
    "p": "page",
    "s": "screen",
    "t": "track",
}
"""What Segment's browser SDK calls the paths of single calls."""
BATCH_PATHS = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")
"""In the order of: every SDK; Segment's in browsers; imports of the past; RudderStack's when a page
is left."""
POSTHOG_PATHS = ("/batch", "/capture", "/e", "/i/v0/e")
SETTINGS_PATHS = ("/sourceConfig", "/flags", "/decide")
IGNORED_PATHS = ("/v1/m", "/s", "/rsaMetrics")
"""SDKs' metrics about themselves, and PostHog's session recordings: accepted and discarded."""
_PREFIXES = ("/v1/", "/array/")
_EXACT = frozenset({*BATCH_PATHS, *POSTHOG_PATHS, *SETTINGS_PATHS, *IGNORED_PATHS})

KEY_PARAMETERS = ("writeKey", "api_key", "token")
"""A key in the address: all that `navigator.sendBeacon` can do, since it sets no headers."""


def is_entrance(path: str) -> bool:
    """Is this a path that web SDKs call?"""
    path = re.sub("/+", "/", path)  # as the router reads it
    return path.startswith(_PREFIXES) or path.rstrip("/") in _EXACT


# ── what SDKs ask for before they send ────────────────────────────────────────────────────────────


def segment_settings(write_key: str, base_url: str) -> dict[str, Any]:
    """For `cdnURL` of Segment's analytics-next: one destination, which is Everafter."""
    parts = urlsplit(base_url)
    here = {
        "apiKey": write_key,
        "apiHost": f"{parts.netloc}{parts.path}/v1",
        "protocol": parts.scheme,
    }
    return {
        "integrations": {"Segment.io": here},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudderstack_settings(write_key: str) -> dict[str, Any]:
    """For `configUrl` of RudderStack's SDK: a source that is on and has no destinations in the
    browser."""
    return {
        "source": {
            "id": "everafter",
            "name": "Everafter",
            "writeKey": write_key,
            "enabled": True,
            "workspaceId": "everafter",
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "config": {
                "statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}
            },
            "connections": [],
            "destinations": [],
            "dataplanes": {},
        },
        "updatedAt": "2026-01-01T00:00:00.000Z",
        "consentManagementMetadata": {"providers": []},
    }


def posthog_settings(token: str) -> dict[str, Any]:
    """For PostHog's SDK at its start: events and nothing else; Everafter has no use for clicks and
    recordings."""
    return {
        "token": token,
        "supportedCompression": ["gzip", "gzip-js", "base64"],
        "analytics": {"endpoint": "/i/v0/e/"},
        "autocapture_opt_out": True,
        "autocaptureExceptions": False,
        "captureDeadClicks": False,
        "capturePerformance": False,
        "defaultIdentifiedOnly": True,
        "elementsChainAsString": True,
        "hasFeatureFlags": False,
        "heatmaps": False,
        "sessionRecording": False,
        "siteApps": [],
        "surveys": False,
    }


def posthog_script(token: str) -> str:
    """The settings where the SDK looks for them; JSON of text is a JavaScript literal."""
    name, settings = (
        msgspec.json.encode(value).decode() for value in (token, posthog_settings(token))
    )
    return (
        "window._POSTHOG_REMOTE_CONFIG = window._POSTHOG_REMOTE_CONFIG || {};"
        f" window._POSTHOG_REMOTE_CONFIG[{name}] = {{config: {settings}, siteApps: []}};"
    )


def posthog_flags() -> dict[str, Any]:
    """For `/flags` and `/decide`: there are none."""
    return {
        "config": {"enable_collect_everything": False},
        "featureFlags": {},
        "featureFlagPayloads": {},
        "flags": {},
        "errorsWhileComputingFlags": False,
        "toolbarParams": {},
        "isAuthenticated": False,
        **{key: value for key, value in posthog_settings("").items() if key != "token"},
    }
