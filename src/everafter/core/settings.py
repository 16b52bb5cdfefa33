"""Settings, read once from the environment and passed on explicitly."""

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from everafter.core.email_address import EmailAddress, read_email
from everafter.core.errors import SettingsError
from everafter.core.files import close_to_others, make_ours
from everafter.core.limits import LOOPBACK, Limits, read_count, read_networks
from everafter.core.origins import ANY_ORIGIN, read_origins

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process.

    database_url: the PostgreSQL to use; null: the embedded one under `data`.
    data: folder of the embedded database, the rejects files and the generated secret.
    playbook: path of the policy file; null: the wedding playbook of the package.
    smtp_url: `smtp://user:password@host:port`, `smtps://…` or `smtp+starttls://…`; null: email
        stays in the outbox.
    base_url: the public URL of this server; links in emails begin with it.
    secret: key for signed links and tokens.
    limits: what callers may use of the server.
    ingest_origins: the origins whose pages may send events, as browsers send them; `*` is any.
    mail_from: the sender of every email; null: `success@` and the host of `base_url`.
    app_url: where links in emails lead in the platform, with `{action}` for the place; null: a page
        that names the place.
    """

    database_url: str | None
    data: Path
    playbook: Path | None
    smtp_url: str | None
    base_url: str
    secret: str
    limits: Limits = field(default_factory=Limits)
    ingest_origins: tuple[str, ...] = (ANY_ORIGIN,)
    mail_from: EmailAddress | None = None
    app_url: str | None = None


SECRET_CHARACTERS = 32
DEFAULT_BASE_URL = "http://127.0.0.1:8000"
SETTING_NAMES = (
    "EVERAFTER_DATABASE_URL",
    "EVERAFTER_DATA",
    "EVERAFTER_PLAYBOOK",
    "EVERAFTER_SMTP_URL",
    "EVERAFTER_MAIL_FROM",
    "EVERAFTER_APP_URL",
    "EVERAFTER_BASE_URL",
    "EVERAFTER_SECRET",
    "EVERAFTER_TRUSTED_PROXIES",
    "EVERAFTER_MAX_CONNECTIONS",
    "EVERAFTER_MAX_CONNECTIONS_PER_ADDRESS",
    "EVERAFTER_KEY_RATE",
    "EVERAFTER_ADDRESS_RATE",
    "EVERAFTER_INGEST_ORIGINS",
)


def load_settings(env: dict[str, str] | None = None, *, make: bool = True) -> Settings:
    """Read the settings.

    Args:
        make: whether to generate a missing secret; otherwise it is empty.

    Raises:
        SettingsError: a `…_FILE` cannot be read, a URL is invalid, or the secret is too short.
    """
    settings, errors = read_settings(env, make=make)
    if errors:
        raise errors[0]
    return settings


def read_settings(
    env: dict[str, str] | None = None, *, make: bool = True
) -> tuple[Settings, list[SettingsError]]:
    """Read the settings and their errors; an invalid setting has its default.

    Args:
        make: whether to generate a missing secret; otherwise it is empty.
    """
    source = dict(os.environ) if env is None else env
    errors: list[SettingsError] = []

    def read(part: Callable[[], _T], default: _T) -> _T:
        try:
            return part()
        except SettingsError as error:
            errors.append(error)
            return default

    data = Path(read(lambda: _value(source, "EVERAFTER_DATA"), None) or ".everafter").absolute()
    playbook = read(lambda: _value(source, "EVERAFTER_PLAYBOOK"), None)
    settings = Settings(
        database_url=read(lambda: _database_url(source), None),
        data=data,
        playbook=Path(playbook) if playbook else None,
        smtp_url=read(lambda: _smtp_url(source), None),
        base_url=read(lambda: _base_url(source), DEFAULT_BASE_URL),
        secret=read(lambda: _secret(source, data, make=make), ""),
        limits=read(lambda: _read_limits(source), Limits()),
        ingest_origins=read(
            lambda: _origins(_value(source, "EVERAFTER_INGEST_ORIGINS")), (ANY_ORIGIN,)
        ),
        mail_from=read(lambda: _mail_from(source), None),
        app_url=read(lambda: _app_url(source), None),
    )
    return settings, errors


def _database_url(env: dict[str, str]) -> str | None:
    """The message of an invalid URL does not repeat any part of it, because a misplaced character
    can make a part of the password look like a host or a port."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    url = _value(env, "EVERAFTER_DATABASE_URL")
    if not url:
        return None
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        parts = None
    if (
        parts is None
        or not re.fullmatch(r"[\d,]*", str(parts.get("port") or ""))
        or "@" in str(parts.get("host") or "")
    ):
        raise SettingsError(
            "EVERAFTER_DATABASE_URL: this is not a PostgreSQL URL; expected"
            " postgresql://user:password@host:5432/name, with special characters in the password"
            " percent-encoded"
        ) from None
    return url


def _smtp_url(env: dict[str, str]) -> str | None:
    url = _value(env, "EVERAFTER_SMTP_URL")
    if url and not _is_url(url, "smtp", "smtps", "smtp+starttls"):
        raise SettingsError(
            "EVERAFTER_SMTP_URL: expected smtp://host:port, smtps://… or smtp+starttls://…"
        )
    if url and (
        moved := [_MOVED[name] for name, _ in parse_qsl(urlsplit(url).query) if name in _MOVED]
    ):
        raise SettingsError(f"EVERAFTER_SMTP_URL: {moved[0]}")
    return url


_MOVED = {
    "from": "the option from= is no longer used; set EVERAFTER_MAIL_FROM, for example"
    " 'Rosa <rosa@example.com>'",
    "app": "the option app= is no longer used; set EVERAFTER_APP_URL, for example"
    " https://app.example.com",
}
_NAMED_ADDRESS = re.compile(r"\s*(.*?)\s*<([^<>]+)>\s*")


def _mail_from(env: dict[str, str]) -> EmailAddress | None:
    text = _value(env, "EVERAFTER_MAIL_FROM")
    if not text:
        return None
    match = _NAMED_ADDRESS.fullmatch(text)
    try:
        return read_email(match[2], match[1].strip('"')) if match else read_email(text)
    except ValueError as error:
        raise SettingsError(
            f"EVERAFTER_MAIL_FROM: {error}; expected rosa@example.com or Rosa <rosa@example.com>"
        ) from error


def _app_url(env: dict[str, str]) -> str | None:
    url = _value(env, "EVERAFTER_APP_URL")
    if url and not _is_url(url, "http", "https"):
        raise SettingsError(
            f"EVERAFTER_APP_URL: {_hide_password(url)!r} is not an http or https URL"
        )
    return url


def _base_url(env: dict[str, str]) -> str:
    url = (_value(env, "EVERAFTER_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    if not _is_url(url, "http", "https"):
        raise SettingsError(
            f"EVERAFTER_BASE_URL: {_hide_password(url)!r} is not an http or https URL"
        )
    return url


def _read_limits(env: dict[str, str]) -> Limits:
    def count(name: str, default: int, least: int) -> int:
        text = _value(env, name)
        return default if text is None else read_count(text, name, least)

    usual = Limits()
    proxies = _value(env, "EVERAFTER_TRUSTED_PROXIES")
    return Limits(
        connections=count("EVERAFTER_MAX_CONNECTIONS", usual.connections, 8),
        connections_per_address=count(
            "EVERAFTER_MAX_CONNECTIONS_PER_ADDRESS", usual.connections_per_address, 1
        ),
        key_rate=count("EVERAFTER_KEY_RATE", usual.key_rate, 0),
        address_rate=count("EVERAFTER_ADDRESS_RATE", usual.address_rate, 0),
        trusted_proxies=(
            LOOPBACK if proxies is None else read_networks(proxies, "EVERAFTER_TRUSTED_PROXIES")
        ),
    )


def _origins(text: str | None) -> tuple[str, ...]:
    try:
        return read_origins(text or ANY_ORIGIN)
    except ValueError as error:
        raise SettingsError(
            f"EVERAFTER_INGEST_ORIGINS: {error}; separate several with spaces, * allows any"
        ) from error


def _hide_password(url: str) -> str:
    """The URL without user and password.

    >>> _hide_password("ftp://rosa:secret@app.example")
    'ftp://…@app.example'
    """
    head, at, rest = url.rpartition("@")
    return f"{head.partition('//')[0]}//…@{rest}" if at else url


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in schemes
            and bool(parts.hostname)
            and parts.port != 0
            and not any(map(str.isspace, text))
        )
    except ValueError:  # an invalid port, or a missing bracket
        return False


def _value(env: dict[str, str], name: str) -> str | None:
    path = env.get(f"{name}_FILE")
    if not path:
        return env.get(name) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE: cannot read {path}: {error}") from error


def _secret(env: dict[str, str], data: Path, *, make: bool) -> str:
    """The secret from the environment, else that of the data folder."""
    name = "EVERAFTER_SECRET"
    is_given = bool(env.get(f"{name}_FILE") or env.get(name))
    if not is_given:
        return _generated_secret(data, make=make)
    place = f"{name}_FILE: the secret in {env[f'{name}_FILE']}" if env.get(f"{name}_FILE") else name
    return _long_enough(_value(env, name) or "", place, "generate one with openssl rand -base64 33")


def _long_enough(secret: str, place: str, cure: str) -> str:
    count = len(secret.strip())
    if count < SECRET_CHARACTERS:
        raise SettingsError(
            f"{place} has {count} characters; at least {SECRET_CHARACTERS} are needed,"
            f" so that signatures cannot be guessed: {cure}"
        )
    return secret


def _generated_secret(data: Path, *, make: bool) -> str:
    """The secret of the data folder, generated once so that links survive a restart."""
    path = data / "secret"
    try:
        if not make and not path.exists():
            return ""
        make_ours(data)
        if not path.exists():
            _place(path, secrets.token_urlsafe(32))
        close_to_others(path)
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"EVERAFTER_DATA: cannot read or write {path}: {error}") from error
    return _long_enough(
        secret, f"the secret in {path}", "delete the file, and a new secret is generated"
    )


def _place(path: Path, text: str) -> None:
    """Create a private file with its content at once; an existing file is not replaced."""
    # mkstemp makes it readable by its owner only
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
