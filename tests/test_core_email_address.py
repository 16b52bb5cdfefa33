"""Reading email addresses: which are accepted, in which form, and why others are rejected."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.core.email_address import EmailError, read_email


@pytest.mark.parametrize(
    ("written", "travels"),
    [
        ("hello@studio.example", "hello@studio.example"),
        ("  Hello+Weddings@Studio.Example ", "Hello+Weddings@studio.example"),
        ("hello@studio.example.", "hello@studio.example"),
        # IDNA 2008: four emails that IDNA 2003 turned into others
        ("post@spaß.example", "post@xn--spa-7ka.example"),
        ("post@νέος.example", "post@xn--ixa5ahm.example"),
        ("post@نامه\u200cای.example", "post@xn--mgba3gch31f060k.example"),
        ("post@blumenstrauß-müller.example", "post@xn--blumenstrau-mller-gob76c.example"),
        ("post@xn--spa-7ka.example", "post@xn--spa-7ka.example"),
        ("post@XN--SPA-7KA.example", "post@xn--spa-7ka.example"),
        ("post@BÜCHER.Example", "post@xn--bcher-kva.example"),
        ("post@bu\u0308cher.example", "post@xn--bcher-kva.example"),
        ("post@ｓｔｕｄｉｏ．example", "post@studio.example"),
        ("post@studio。example", "post@studio.example"),
        ("post@結婚式.example", "post@xn--h1s82i2x6a.example"),
        ("post@re--brand.example", "post@re--brand.example"),
        ("post@9to5.example", "post@9to5.example"),
        # dots that no atom has
        ("hana..tanaka@docomo.example", '"hana..tanaka"@docomo.example'),
        (".hana@docomo.example", '".hana"@docomo.example'),
        ("hana.@ezweb.example", '"hana."@ezweb.example'),
        ("...@docomo.example", '"..."@docomo.example'),
        ('"hana..tanaka"@docomo.example', '"hana..tanaka"@docomo.example'),
        ('"hana"@studio.example', "hana@studio.example"),
        ('"hana tanaka"@studio.example', '"hana tanaka"@studio.example'),
        # every sign of an atom
        ("!#$%&'*+-/=?^_`{|}~@studio.example", "!#$%&'*+-/=?^_`{|}~@studio.example"),
        ("=?utf-8?q?a?=@studio.example", "=?utf-8?q?a?=@studio.example"),
        # local parts beyond ASCII, for servers that take them
        ("grüße@spaß.example", "grüße@xn--spa-7ka.example"),
        ("gru\u0308sse@studio.example", "grüsse@studio.example"),
        ("花..子@studio.example", '"花..子"@studio.example'),
        ("l" * 64 + "@studio.example", "l" * 64 + "@studio.example"),
        ("a@" + "b" * 63 + ".example", "a@" + "b" * 63 + ".example"),
    ],
)
def test_valid_addresses_are_normalized(written: str, travels: str) -> None:
    address = read_email(written)
    assert address.addr_spec == travels
    assert address.domain.isascii()
    assert address.needs_smtputf8 == (not travels.isascii())
    assert read_email(address.addr_spec) == address, "what travels is read as itself"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "no @"),
        ("studio.example", "no @"),
        ("hello＠studio.example", "no @"),
        ("@studio.example", "nothing before the @"),
        ('""@studio.example', "cannot have"),
        ("hello@", "is empty"),
        ("hello@studio..example", "is empty"),
        ("hello@.example", "is empty"),
        ("hello@studio.example..", "is empty"),
        ("hello@[192.0.2.7]", "IP address"),
        ("hello@[IPv6:2001:db8::1]", "IP address"),
        ("hello@192.0.2.7", "ends in a number"),
        ("a@b@studio.example", "cannot have '@'"),
        ("hello there@studio.example", "cannot have ' '"),
        ("hello@studio example", "'studio example' cannot be"),
        ("hello@ studio.example", "cannot be"),
        ("Hana <hana@studio.example>", "cannot have '<'"),
        ("<hana@studio.example>", "cannot have '<'"),
        ("hana@studio.example, ken@studio.example", "cannot have '@'"),
        ("hana@studio.example;ken", "cannot be"),
        ("team: hana@studio.example", "cannot have ':'"),
        ("hana(home)@studio.example", "cannot have '('"),
        ("hana@(home)studio.example", "cannot be"),
        ('"hana\\"x"@studio.example', "cannot have"),
        ('"a>, <b"@studio.example', "cannot have '>'"),
        ('ha"na@studio.example', "cannot have"),
        ("hello@under_score.example", "'under_score' cannot be"),
        ("hello@-studio.example", "cannot be"),
        ("hello@studio-.example", "cannot be"),
        ("hello@i❤weddings.example", "U+2764"),
        ("hello@💒.example", "U+1F492"),
        ("hello@xn--i-7iq.example", "U+2764"),
        ("hello@xn--.example", "the domain is not valid"),
        ("hello@xn--ls8h.example", "the domain is not valid"),
        ("hello@xn--aaaaaaaa.example", "the domain is not valid"),
        ("hello@xn--abc-.example", "the domain is not valid"),
        ("hello@\u0308a.example", "the domain is not valid"),
        ("hello@aא.example", "the domain is not valid"),
        ("l" * 65 + "@studio.example", "longer than 64"),
        ("ü" * 33 + "@studio.example", "longer than 64"),
        ("a@" + "b" * 64 + ".example", "cannot be a part"),
        ("a@" + "ü" * 60 + ".example", "the domain is not valid"),
        ("a@" + "bcd." * 63 + "example", "longer than 25"),
        ("a" * 60 + "@" + "bcd." * 50 + "example", "longer than 254"),
        ("hello\r\n@studio.example", "invisible characters"),
        ("hello@studio.example\r\nRCPT TO:<b@c.example>", "invisible characters"),
        ("he\0llo@studio.example", "invisible characters"),
        ("he\u202ello@studio.example", "invisible characters"),
        ("he\u200bllo@studio.example", "invisible characters"),
        ("hello@stu\u00addio.example", "invisible characters"),
        ("he\ud800llo@studio.example", "invisible characters"),
        ("he\u00a0llo@studio.example", "an unusual space"),
        ("he\u3000llo@studio.example", "an unusual space"),
        ("mailto:hello@studio.example", "cannot have ':'"),
    ],
)
def test_invalid_addresses_are_rejected_with_the_reason(written: str, why: str) -> None:
    with pytest.raises(EmailError, match=rf"not an email address: .*{re.escape(why)}") as caught:
        read_email(written)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_mailto_links_escape_special_characters() -> None:
    assert (
        read_email("hana..tanaka@docomo.example").mailto
        == "mailto:%22hana..tanaka%22@docomo.example"
    )
    assert read_email("grüße@spaß.example").mailto == "mailto:gr%C3%BC%C3%9Fe@xn--spa-7ka.example"
    assert (
        read_email("a%b&c#d?e@studio.example").mailto == "mailto:a%25b%26c%23d%3Fe@studio.example"
    )


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[a-zßü.\"@\[\]()<> -]{1,30}", fullmatch=True))
def test_any_text_round_trips_as_an_address_or_is_rejected(text: str) -> None:
    for written in (text, f"{text}@studio.example", f"hello@{text}.example"):
        try:
            address = read_email(written)
        except EmailError:
            continue
        assert read_email(address.addr_spec) == address
        assert not any(sign in address.addr_spec for sign in "\r\n<>,;:()\\")
