"""Checking a condition over signals: what is wrong, and where in it. Pure.

A condition is a Polars SQL expression. Its words are checked first, so that every unknown signal is
reported and not only the first one; then Polars checks grammar and types."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import polars as pl

from everafter.playbook.findings import Level
from everafter.playbook.hints import did_you_mean
from everafter.signals.model import SIGNALS, Signal


@dataclass(frozen=True, slots=True)
class Remark:
    """What is wrong with the characters `start` to `end` of a condition."""

    start: int
    end: int
    message: str
    hint: str = ""
    level: Level = "error"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The token as a signal's name, without the quotes of an identifier."""
        return self.text.strip('"')


_TOKEN = re.compile(
    r"(?P<blank>\s+|--[^\n]*|/\*.*?\*/)|(?P<text>'(?:[^']|'')*')|(?P<quoted>\"[^\"]*\")"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|<>|!=|==|&&|\|\||::|[-+*/%<>=(),.;!])|(?P<other>.)",
    re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYWORDS = _words("""
    and or not in is null between like ilike true false case when then else end distinct from cast
    as unknown
""")
_TYPE_NAMES = _words("int integer bigint float double real text varchar boolean bool")
_FUNCTIONS = _words("""
    abs ceil ceiling coalesce exp floor greatest if ifnull least left length ln log10 lower ltrim
    mod nullif pow power replace right round rtrim sign sqrt starts_with ends_with strpos substr
    substring trim upper
""")
_AGGREGATES = _words("""
    avg count first last max median min sum stddev variance row_number rank quantile corr covar over
    lag lead
""")
_QUERY_WORDS = _words("select exists over union where limit order group having")
_COMPARISONS = frozenset(["<", "<=", ">", ">=", "=", "<>", "!="])
_ARITHMETIC = frozenset(["*", "/", "+", "-"])
_SIGN_HINTS = {
    "==": "compare with a single =",
    "&&": "write AND",
    "||": "write OR",
    "!": "write NOT, or <> for unequal",
    ";": "remove it",
}
_MAX_CHARACTERS = 2_000
_MAX_NESTING = 20
"""Polars' parser takes twice as long for each level."""


class _Vocabulary:
    """The signals that a condition may name, by what can be done with them."""

    def __init__(self, signals: tuple[Signal, ...]) -> None:
        self.schema = {signal.name: signal.dtype for signal in signals}
        self.shares = frozenset(signal.name for signal in signals if signal.unit == "0–1")
        self.flags = frozenset(signal.name for signal in signals if signal.dtype == pl.Boolean())
        self.can_be_null = {signal.name: signal.null != "never null" for signal in signals}
        self.choices: dict[str, tuple[str, ...]] = {
            signal.name: tuple(re.split(r", | or ", signal.unit))
            for signal in signals
            if signal.dtype == pl.String() and " or " in signal.unit
        }
        self.sample = self._make_sample()

    def _make_sample(self) -> pl.DataFrame:
        """Rows that a condition must have a result for: all null, small values, large values."""
        values: dict[str, list[object]] = {}
        for name, dtype in self.schema.items():
            if dtype == pl.String():
                values[name] = [None, "", "x"]
            elif dtype == pl.Boolean():
                values[name] = [None, False, True]
            else:
                values[name] = [None, 0, 400]
        return pl.DataFrame(values, schema=self.schema)


_vocabulary = cache(_Vocabulary)


def check_condition(sql: str, signals: tuple[Signal, ...] = SIGNALS) -> list[Remark]:
    """Find everything that keeps `sql` from being true or false for a row of signals, and what is
    surely not meant.

    Args:
        signals: those that it may name: a supplier's, or `signals.model.CLIENT_SIGNALS`.
    """
    known = _vocabulary(signals)
    if len(sql) > _MAX_CHARACTERS:
        message = f"the condition has {len(sql):,} characters; the maximum is {_MAX_CHARACTERS:,}"
        return [Remark(0, len(sql), message, "split it into several triggers")]
    tokens = _tokens(sql)
    if not tokens:
        hint = "for a condition that is always true write true"
        return [Remark(0, len(sql), "the condition is empty", hint)]
    remarks = list(_check_signs(sql, tokens))
    if all(token.kind != "other" for token in tokens):
        remarks += _check_names(tokens, known)
    if not _has_error(remarks):
        remarks += _check_with_polars(sql, known)
    if not _has_error(remarks):
        remarks += _check_comparisons(tokens, known)
        remarks += _check_negations(tokens, known)
        remarks += _check_suspicious(sql, tokens, known)
    return remarks


def _has_error(remarks: list[Remark]) -> bool:
    return any(remark.level == "error" for remark in remarks)


def signals_in(sql: str, signals: tuple[Signal, ...] = SIGNALS) -> list[str]:
    """The signals that a condition names, each once, in their order."""
    schema = _vocabulary(signals).schema
    return list(dict.fromkeys(token.name for token in _tokens(sql) if token.name in schema))


def _tokens(sql: str) -> list[_Token]:
    return [
        _Token(match.lastgroup or "other", match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(sql)
        if match.lastgroup != "blank"
    ]


def _remark(token: _Token, message: str, hint: str = "") -> Remark:
    return Remark(token.start, token.end, message, hint)


# ── signs and names ───────────────────────────────────────────────────────────────────────────


def _check_signs(sql: str, tokens: list[_Token]) -> Iterator[Remark]:
    """Characters that have no meaning, and parentheses."""
    open_: list[_Token] = []
    for token in tokens:
        if token.kind == "other":
            is_quote = token.text in "'’‘“”\""
            hint = "text goes between two single quotes: 'free'" if is_quote else ""
            yield _remark(token, f"{token.text!r} has no meaning in a condition", hint)
            return
        if token.text in _SIGN_HINTS:
            message = f"{token.text!r} has no meaning in a condition"
            yield _remark(token, message, _SIGN_HINTS[token.text])
        if token.text == "(":
            open_.append(token)
            if len(open_) > _MAX_NESTING:
                message = f"more than {_MAX_NESTING} parentheses inside each other"
                yield _remark(token, message, "remove some")
                return
        elif token.text == ")" and not open_:
            yield _remark(token, "this ) closes nothing")
        elif token.text == ")":
            open_.pop()
    for token in open_:
        yield _remark(token, "this ( is never closed", f"the condition ends at {sql[-20:]!r}")


def _check_names(tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    for index, token in enumerate(tokens):
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        before = tokens[index - 1].text.lower() if index else ""
        word = token.text.lower()
        if token.kind == "quoted" and token.name not in known.schema:
            hint = f"text goes in single quotes: '{token.name}'"
            yield _remark(token, f"there is no signal {token.name!r}", hint)
        elif token.kind != "word" or (word in _TYPE_NAMES and before in {"as", "::"}):
            continue
        elif word in _QUERY_WORDS:
            hint = "a condition is about the signals of one supplier"
            yield _remark(token, f"{token.text} cannot be used in a condition", hint)
        elif after == "(" and word not in _KEYWORDS:
            yield from _check_function(token, word)
        elif word not in _KEYWORDS and token.text not in known.schema:
            hint = _signal_hint(token.text, before, after, known)
            yield _remark(token, f"there is no signal {token.text!r}", hint)


def _check_function(token: _Token, word: str) -> Iterator[Remark]:
    if word in _AGGREGATES:
        hint = (
            "a condition is evaluated for one supplier; least(…) and greatest(…) compare its"
            " signals"
        )
        yield _remark(token, f"{word} combines several suppliers", hint)
    elif word not in _FUNCTIONS:
        hint = did_you_mean(word, _FUNCTIONS, near=0.75)
        hint = hint or f"known: {', '.join(sorted(_FUNCTIONS))}"
        yield _remark(token, f"there is no function {word!r}", hint)


def _signal_hint(name: str, before: str, after: str, known: _Vocabulary) -> str:
    if name.lower() in known.schema:
        return f"signals are written in lower case: {name.lower()}"
    near = did_you_mean(name, known.schema)
    ends = after.lower() in {"", ")", ",", "and", "or"}
    if before in _COMPARISONS | {"(", ","} and ends:
        return near or f"if it is a text, put it in single quotes: '{name}'"
    if before[:1].isdigit():
        return "numbers have no unit; the signal has one"
    return near or "`everafter signals` lists them"


# ── as Polars sees it ─────────────────────────────────────────────────────────────────────────


def _check_with_polars(sql: str, known: _Vocabulary) -> Iterator[Remark]:
    whole = (0, len(sql))
    try:
        result = pl.sql_expr(sql).alias("result")
        empty = pl.DataFrame(schema=known.schema).select(result)
        rows = known.sample.with_columns(result)
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        ValueError,
        TypeError,
    ) as error:
        message = f"cannot be read as a condition: {_simplify(error)}"
        yield Remark(*whole, message, _grammar_hint(sql, str(error)))
        return
    dtype = empty["result"].dtype
    if rows.height != known.sample.height or dtype != pl.Boolean:
        kind = "nothing"
        if dtype == pl.String:
            kind = "a text"
        elif dtype.is_numeric():
            kind = "a number"
        yield Remark(*whole, f"is {kind}, not true or false", "compare it: … >= 7")


def _simplify(error: BaseException) -> str:
    """The first line of Polars' message, in words that fit a condition."""
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for pattern, text in (
        (r"^sql parser error: ", ""),
        (r"unable to parse '.*' as Expr", "it is incomplete or not an expression"),
        (r"conversion from `str` to `.*` failed.*", "a text cannot be converted to a number"),
        (r"cannot compare string with numeric type \(.*\)", "a text is compared with a number"),
    ):
        line = re.sub(pattern, text, line)
    return line


def _grammar_hint(sql: str, complaint: str) -> str:
    last = sql.split()[-1].lower() if sql.split() else ""
    if last in {"and", "or", "not"} or last in _COMPARISONS:
        return f"nothing follows the last {last.upper()}"
    if "token ','" in complaint and (decimal := re.search(r"\d+,\d+", sql)):
        return f"decimals are written with a point: {decimal.group().replace(',', '.')}"
    return "as in SQL: days_inactive >= 7 AND plan = 'free'"


# ── comparisons that make no sense ────────────────────────────────────────────────────────────


def _check_comparisons(tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    for name, value in _compared(tokens, known):
        if value.kind == "number" and name in known.shares and float(value.text) > 1:
            hint = f"a share: {value.text} % is written {float(value.text) / 100:g}"
            yield _remark(value, f"{name} is never above 1", hint)
        elif value.kind == "text" and name in known.choices:
            text, choices = value.text.strip("'"), known.choices[name]
            if text not in choices:
                listed = ", ".join(f"'{choice}'" for choice in choices)
                hint = did_you_mean(text, choices) or f"it is one of {listed}"
                yield _remark(value, f"{name} is never {value.text}", hint)
        elif value.kind in {"number", "text"} and name in known.flags:
            yield _remark(value, f"{name} is true or false", f"write {name}, or NOT {name}")


def _check_negations(tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    """NOT before a signal that is not true or false."""
    for index, token in enumerate(tokens[1:], start=1):
        before = tokens[index - 1]
        after = tokens[index + 1].text.lower() if index + 1 < len(tokens) else ""
        is_number_or_text = token.text in known.schema and token.text not in known.flags
        if before.text.lower() == "not" and is_number_or_text and after in {"", ")", "and", "or"}:
            message = f"{token.text} is not true or false"
            yield Remark(before.start, token.end, message, "compare it: … >= 7")


def _compared(tokens: list[_Token], known: _Vocabulary) -> Iterator[tuple[str, _Token]]:
    """Each signal with a literal that it is compared with, also inside coalesce and IN."""
    for index, token in enumerate(tokens):
        if token.text not in known.schema:
            continue
        name, rest = token.text, tokens[index + 1 :]
        # coalesce(subscription, 'active')
        if len(rest) >= 2 and rest[0].text == "," and rest[1].kind == "text":
            yield name, rest[1]
            rest = rest[3:]
        if len(rest) >= 2 and rest[0].text in _COMPARISONS:
            follows = rest[2].text if len(rest) > 2 else ""
            if follows not in _ARITHMETIC:
                yield name, rest[1]
        words = [t for t in rest[:2] if t.text.lower() in {"not", "in"}]
        if words and words[-1].text.lower() == "in":
            for item in rest[len(words) :]:
                if item.text == ")":
                    break
                yield name, item
        if index >= 2 and tokens[index - 1].text in _COMPARISONS:
            yield name, tokens[index - 2]


def _check_suspicious(sql: str, tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    if not any(token.name in known.schema for token in tokens):
        whom = "supplier" if "vendor_type" in known.schema else "client"
        message = f"names no signal, so it is the same for every {whom}"
        yield Remark(0, len(sql), message, level="warning")
        return
    for index, token in enumerate(tokens[:-1]):
        after = [t.text.lower() for t in tokens[index + 1 : index + 4]]
        if after[0] in {"=", "<>", "!="} and after[1:2] == ["null"]:
            negation = "NOT " if after[0] != "=" else ""
            hint = f"write {token.text} IS {negation}NULL"
            message = "nothing is equal or unequal to NULL, so this is always false"
            yield Remark(token.start, tokens[index + 2].end, message, hint, "warning")
        is_null = after[:2] == ["is", "null"] or after == ["is", "not", "null"]
        if is_null and known.can_be_null.get(token.text) is False:
            message = f"{token.text} is never NULL"
            yield Remark(token.start, tokens[index + 1].end, message, level="warning")
