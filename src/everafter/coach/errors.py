"""Why a coach token is refused. Each reason has a code, for the developer who embeds the coach.
Pure."""

from everafter.core.errors import UnauthorizedError


class TokenError(UnauthorizedError):
    """The token is missing, or is not a coach token."""

    code = "token_malformed"


class TokenIsKeyError(TokenError):
    """A key was sent instead of a token."""

    code = "token_is_key"


class TokenAlgorithmError(TokenError):
    """The token is not signed with HS256."""

    code = "token_algorithm"


class TokenTypeError(TokenError):
    """The header's `typ` is not coach+jwt."""

    code = "token_type"


class TokenKeyError(TokenError):
    """No live coach key has made this signature."""

    code = "token_key"


class TokenSecretError(TokenError):
    """The coach keys belong to another EVERAFTER_SECRET."""

    code = "token_secret"


class TokenClaimsError(TokenError):
    """A claim is missing or of the wrong kind."""

    code = "token_claims"


class TokenAudienceError(TokenError):
    """The token is meant for another service."""

    code = "token_audience"


class TokenExpiredError(TokenError):
    """The token's time is over."""

    code = "token_expired"


class TokenEarlyError(TokenError):
    """The token was issued in the future."""

    code = "token_early"


class TokenLifetimeError(TokenError):
    """The token lives longer than a coach token may."""

    code = "token_lifetime"
