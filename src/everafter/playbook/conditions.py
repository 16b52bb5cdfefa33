"""What is wrong with a condition over signals, and where in it. Pure.

A condition is a Polars SQL expression. Its words are looked at first, so that every unknown signal
is named and not only the first one; what Polars itself then has to say (grammar, types) comes
second."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import polars as pl

from everafter.playbook.shape import did_you_mean
from everafter.signals.model import SIGNALS, Signal


@dataclass(frozen=True, slots=True)
class Remark:
    """What is wrong with the characters `start` to `end` of a condition."""

    start: int
    end: int
    message: str
    hint: str = ""
    level: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"(?P<blank>\s+|--[^\n]*|/\*.*?\*/)|(?P<text>'(?:[^']|'')*')|(?P<quoted>\"[^\"]*\")"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|<>|!=|==|&&|\|\||::|[-+*/%<>=(),.;!])|(?P<other>.)",
    re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYWORDS = _words(
    "and or not in is null between like ilike true false case when then else end distinct from cast as unknown"
)
_TYPE_NAMES = _words("int integer bigint float double real text varchar boolean bool")
_FUNCTIONS = _words(
    "abs ceil ceiling coalesce exp floor greatest if ifnull least left length ln log10 lower ltrim mod nullif pow power"
    " replace right round rtrim sign sqrt starts_with ends_with strpos substr substring trim upper"
)
_OVER_SUPPLIERS = _words(
    "avg count first last max median min sum stddev variance row_number rank quantile corr covar over lag lead"
)
_QUERY_WORDS = _words("select exists over union where limit order group having")
_MOST_CHARACTERS = 2_000
_MOST_NESTED = 20
_COMPARISONS = frozenset(["<", "<=", ">", ">=", "=", "<>", "!="])
_SIGN_HINTS = {
    "==": "one = compares",
    "&&": "write AND",
    "||": "write OR",
    "!": "write NOT, or <> for unequal",
    ";": "leave it out",
}


class _Vocabulary:
    """The signals a condition may name, sorted by what one may ask of them."""

    def __init__(self, signals: tuple[Signal, ...]) -> None:
        self.schema = {signal.name: signal.dtype for signal in signals}
        self.shares = frozenset(signal.name for signal in signals if signal.unit == "0–1")
        self.yes_or_no = frozenset(
            signal.name for signal in signals if signal.dtype == pl.Boolean()
        )
        self.unknowable = {signal.name: signal.null != "never null" for signal in signals}
        self.texts_of: dict[str, tuple[str, ...]] = {
            signal.name: tuple(re.split(r", | or ", signal.unit))
            for signal in signals
            if signal.dtype == pl.String() and " or " in signal.unit
        }
        # Of whom nothing is known, little, much, and words where words stand: a condition must have
        # an answer for each.
        self.sample = pl.DataFrame(
            {
                name: [None, "", "x"]
                if dtype == pl.String()
                else [None, False, True]
                if dtype == pl.Boolean()
                else [None, 0, 400]
                for name, dtype in self.schema.items()
            },
            schema=self.schema,
        )


_of_signals = cache(_Vocabulary)


def check_condition(sql: str, signals: tuple[Signal, ...] = SIGNALS) -> list[Remark]:
    """Everything that keeps `sql` from being a yes or no over one row of these signals, and what is
    surely not meant.

    Args: signals: a supplier's, unless the condition is about something else:
        `signals.model.CLIENT_SIGNALS` for a client."""
    known = _of_signals(signals)
    if len(sql) > _MOST_CHARACTERS:
        message = f"the condition has {len(sql):,} characters; at most {_MOST_CHARACTERS:,} can be followed"
        return [Remark(0, len(sql), message, "cut it into several triggers")]
    tokens = _tokens(sql)
    if not tokens:
        return [
            Remark(0, len(sql), "the condition is empty", "for one that is always true write true")
        ]
    remarks = list(_unreadable(sql, tokens))
    if all(token.kind != "other" for token in tokens):
        remarks += _unknown_names(tokens, known)
    if not any(remark.level == "error" for remark in remarks):
        remarks += _as_polars_sees_it(sql, known)
    if not any(remark.level == "error" for remark in remarks):
        remarks += [*_impossible_comparisons(tokens, known), *_suspicious(sql, tokens, known)]
    return remarks


def signals_in(sql: str, signals: tuple[Signal, ...] = SIGNALS) -> list[str]:
    """The signals a condition names, each once, in their order."""
    schema = _of_signals(signals).schema
    return list(
        dict.fromkeys(t.text.strip('"') for t in _tokens(sql) if t.text.strip('"') in schema)
    )


def _tokens(sql: str) -> list[_Token]:
    return [
        _Token(match.lastgroup or "other", match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(sql)
        if match.lastgroup != "blank"
    ]


def _unreadable(sql: str, tokens: list[_Token]) -> Iterator[Remark]:
    depth: list[_Token] = []
    for token in tokens:
        if token.kind == "other":
            hint = "text goes between two single quotes: 'free'" if token.text in "'’‘“”\"" else ""
            yield Remark(
                token.start, token.end, f"{token.text!r} has no meaning in a condition", hint
            )
            return
        if token.text in _SIGN_HINTS:
            yield Remark(
                token.start,
                token.end,
                f"{token.text!r} has no meaning in a condition",
                _SIGN_HINTS[token.text],
            )
        if token.text == "(":
            depth.append(token)
            if len(depth) > _MOST_NESTED:  # Polars' parser takes twice as long for each
                yield Remark(
                    token.start,
                    token.end,
                    f"more than {_MOST_NESTED} parentheses inside each other",
                    "take some out",
                )
                return
        elif token.text == ")" and not depth:
            yield Remark(token.start, token.end, "this ) closes nothing")
        elif token.text == ")":
            depth.pop()
    for token in depth:
        yield Remark(
            token.start, token.end, "this ( is never closed", f"the condition ends at {sql[-20:]!r}"
        )


def _unknown_names(tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    for index, token in enumerate(tokens):
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        before = tokens[index - 1].text.lower() if index else ""
        word = token.text.lower()
        if token.kind == "quoted" and token.text.strip('"') not in known.schema:
            name = token.text.strip('"')
            hint = f"text goes in single quotes: '{name}'"
            yield Remark(token.start, token.end, f"there is no signal {name!r}", hint)
        elif token.kind != "word" or (word in _TYPE_NAMES and before in {"as", "::"}):
            continue
        elif word in _QUERY_WORDS:
            hint = "a condition looks at one supplier's signals and nothing else"
            yield Remark(
                token.start, token.end, f"{token.text} cannot be used in a condition", hint
            )
        elif after == "(" and word not in _KEYWORDS:
            yield from _unknown_function(token, word)
        elif word not in _KEYWORDS and token.text not in known.schema:
            hint = _signal_hint(token.text, before, after, known)
            yield Remark(token.start, token.end, f"there is no signal {token.text!r}", hint)


def _unknown_function(token: _Token, word: str) -> Iterator[Remark]:
    if word in _OVER_SUPPLIERS:
        hint = "a condition is asked of each supplier alone; least(…) and greatest(…) compare signals of one supplier"
        yield Remark(token.start, token.end, f"{word} looks at several suppliers at once", hint)
    elif word not in _FUNCTIONS:
        hint = (
            did_you_mean(word, _FUNCTIONS, near=0.75) or f"known: {', '.join(sorted(_FUNCTIONS))}"
        )
        yield Remark(token.start, token.end, f"there is no function {word!r}", hint)


def _signal_hint(name: str, before: str, after: str, known: _Vocabulary) -> str:
    if name.lower() in known.schema:
        return f"signals are written small: {name.lower()}"
    if before in _COMPARISONS | {"(", ","} and after in {"", ")", ",", "and", "AND", "or", "OR"}:
        near = did_you_mean(name, known.schema)
        return near or f"if it is a text, put it in single quotes: '{name}'"
    if before[:1].isdigit():
        return "a number is alone; its unit is the signal's"
    return did_you_mean(name, known.schema) or "`everafter signals` lists all of them"


def _as_polars_sees_it(sql: str, known: _Vocabulary) -> Iterator[Remark]:
    whole = (0, len(sql))
    try:
        answer = pl.sql_expr(sql).alias("answer")
        empty = pl.DataFrame(schema=known.schema).select(answer)
        rows = known.sample.with_columns(answer)
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        ValueError,
        TypeError,
    ) as error:
        yield Remark(
            *whole,
            f"cannot be read as a condition: {_plainly(error)}",
            _grammar_hint(sql, str(error)),
        )
        return
    if rows.height != known.sample.height or empty["answer"].dtype != pl.Boolean:
        kind = (
            "a text"
            if empty["answer"].dtype == pl.String
            else "a number"
            if empty["answer"].dtype.is_numeric()
            else "nothing"
        )
        yield Remark(*whole, f"gives {kind}, not yes or no", "compare it with something: … >= 7")


def _plainly(error: BaseException) -> str:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    line = re.sub(r"^sql parser error: ", "", line)
    line = re.sub(
        r"unable to parse '.*' as Expr", "the sentence breaks off or does not hold together", line
    )
    line = re.sub(r"conversion from `str` to `.*` failed.*", "a text cannot be made a number", line)
    return re.sub(
        r"cannot compare string with numeric type \(.*\)", "a text is compared with a number", line
    )


def _grammar_hint(sql: str, complaint: str) -> str:
    last = sql.split()[-1].lower() if sql.split() else ""
    if last in {"and", "or", "not"} or last in _COMPARISONS:
        return f"nothing follows the last {last.upper()}"
    if "token ','" in complaint and (decimal := re.search(r"\d+,\d+", sql)):
        return f"decimals are written with a point: {decimal.group().replace(',', '.')}"
    return "as in SQL: days_inactive >= 7 AND plan = 'free'"


def _impossible_comparisons(tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    for name, value in _compared(tokens, known):
        if value.kind == "number" and name in known.shares and float(value.text) > 1:
            hint = f"a share: {value.text} % is written {float(value.text) / 100:g}"
            yield Remark(value.start, value.end, f"{name} is never above 1", hint)
        elif (
            value.kind == "text"
            and name in known.texts_of
            and value.text.strip("'") not in known.texts_of[name]
        ):
            words = ", ".join(f"'{word}'" for word in known.texts_of[name])
            hint = (
                did_you_mean(value.text.strip("'"), known.texts_of[name]) or f"it is one of {words}"
            )
            yield Remark(value.start, value.end, f"{name} is never {value.text}", hint)
        elif value.kind in {"number", "text"} and name in known.yes_or_no:
            yield Remark(
                value.start, value.end, f"{name} is yes or no", f"write {name}, or NOT {name}"
            )
    for before, token, after in zip(tokens, tokens[1:], [*tokens[2:], None], strict=False):
        alone = after is None or after.text.lower() in {")", "and", "or"}
        if (
            before.text.lower() == "not"
            and alone
            and token.text in known.schema
            and token.text not in known.yes_or_no
        ):
            yield Remark(
                before.start,
                token.end,
                f"{token.text} is not a yes or no",
                "compare it with something: … >= 7",
            )


def _compared(tokens: list[_Token], known: _Vocabulary) -> Iterator[tuple[str, _Token]]:
    """Signal and literal wherever the two are on both sides of a comparison, also inside coalesce
    and IN."""
    for index, token in enumerate(tokens):
        if token.text not in known.schema:
            continue
        rest = tokens[index + 1 :]
        if (
            rest[:1] and rest[0].text == "," and rest[1:2] and rest[1].kind == "text"
        ):  # coalesce(subscription, 'active')
            yield token.text, rest[1]
            rest = rest[3:]
        if len(rest) >= 2 and rest[0].text in _COMPARISONS:
            follows = rest[2].text if len(rest) > 2 else ""
            if follows not in {"*", "/", "+", "-"}:
                yield token.text, rest[1]
        words = [t for t in rest[:2] if t.text.lower() in {"not", "in"}]
        if words and words[-1].text.lower() == "in":
            for item in rest[len(words) :]:
                if item.text == ")":
                    break
                yield token.text, item
        if index >= 2 and tokens[index - 1].text in _COMPARISONS:
            yield token.text, tokens[index - 2]


def _suspicious(sql: str, tokens: list[_Token], known: _Vocabulary) -> Iterator[Remark]:
    if not any(token.text.strip('"') in known.schema for token in tokens):
        whom = "supplier" if "vendor_type" in known.schema else "client"
        yield Remark(
            0, len(sql), f"names no signal, so it is the same for every {whom}", level="warning"
        )
        return
    for index, token in enumerate(tokens[:-1]):
        after = [t.text.lower() for t in tokens[index + 1 : index + 4]]
        if after[0] in {"=", "<>", "!="} and after[1:2] == ["null"]:
            hint = f"write {token.text} IS {'NOT ' if after[0] != '=' else ''}NULL"
            end = tokens[index + 2].end
            yield Remark(
                token.start,
                end,
                "nothing is ever equal or unequal to NULL: this is always no",
                hint,
                "warning",
            )
        is_null = after[:2] == ["is", "null"] or after == ["is", "not", "null"]
        if is_null and known.unknowable.get(token.text) is False:
            yield Remark(
                token.start, tokens[index + 1].end, f"{token.text} is never NULL", level="warning"
            )
