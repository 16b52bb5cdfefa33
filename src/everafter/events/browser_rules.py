"""The paths that web SDKs call, and their settings. Pure."""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

SHORT_PATHS = {
    "a": "alias",
    "g": "group",
    "i": "identify",
    "p": "page",
    "s": "screen",
    "t": "track",
}
"""Paths below /v1/ for single calls of Segment's browser SDK, and the call of each."""
BATCH_PATHS = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")
"""For all SDKs; Segment's browser SDK; imports of past events; RudderStack's SDK on page unload."""
POSTHOG_PATHS = ("/batch", "/capture", "/e", "/i/v0/e")
SETTINGS_PATHS = ("/sourceConfig", "/flags", "/decide")
IGNORED_PATHS = ("/v1/m", "/s", "/rsaMetrics")
"""The SDKs' own metrics and PostHog's session recordings: accepted and discarded."""
_PREFIXES = ("/v1/", "/array/")
_EXACT = frozenset({*BATCH_PATHS, *POSTHOG_PATHS, *SETTINGS_PATHS, *IGNORED_PATHS})

KEY_PARAMETERS = ("writeKey", "api_key", "token")
"""Query parameters with a key: `navigator.sendBeacon` cannot set headers."""


def is_ingest_path(path: str) -> bool:
    """Whether web SDKs call this path."""
    path = re.sub("/+", "/", path)  # as the router does
    return path.startswith(_PREFIXES) or path.rstrip("/") in _EXACT


# ── settings ────────────────────────────────────────────────────────────


def segment_settings(write_key: str, base_url: str) -> dict[str, Any]:
    """Settings for `cdnURL` of Segment's analytics-next: the only destination is Everafter."""
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
    """Settings for `configUrl` of RudderStack's SDK: an enabled source without destinations."""
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
    """Settings for PostHog's SDK: events, but no autocaptured clicks and no recordings."""
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
    """The settings as a script that puts them where the SDK looks for them."""
    name, settings = (
        msgspec.json.encode(value).decode() for value in (token, posthog_settings(token))
    )
    return (
        "window._POSTHOG_REMOTE_CONFIG = window._POSTHOG_REMOTE_CONFIG || {};"
        f" window._POSTHOG_REMOTE_CONFIG[{name}] = {{config: {settings}, siteApps: []}};"
    )


def posthog_flags() -> dict[str, Any]:
    """The response of `/flags` and `/decide`: no flags."""
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
