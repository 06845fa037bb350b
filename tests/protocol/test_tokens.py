"""What a token says and which tokens are good (contract, section 1 and G9)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from itsdangerous import Signer

from pushline.errors import ConnectionEnded
from pushline.messages import Policy, is_client_id
from pushline.protocol.codes import INVALID_TOKEN, TOKEN_EXPIRED
from pushline.protocol.tokens import MAX_TOKEN_CHARACTERS, Claims, TokenSigner

NOW = 1_700_000_000.0
SIGNER = TokenSigner(["the secret of this server"])
CLAIMS = Claims("ann", 1_700_000_000_000 << 20 | 7, 1_700_007_200, Policy.REPLACE)
TOKEN = SIGNER.sign(CLAIMS)

client_ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256).filter(is_client_id)
ids = st.integers(0, (1 << 63) - 1)


def code(token: str, signer: TokenSigner = SIGNER, now: float = NOW) -> int:
    """The close code with which a token is refused."""
    with pytest.raises(ConnectionEnded) as ended:
        signer.verify(token, now)
    return ended.value.code


class TestATokenThatIsGood:
    def test_is_signed_as_itsdangerous_signs_by_itself(self) -> None:
        signer = Signer(
            "the secret of this server", salt="pushline.token.v1", key_derivation="hmac", digest_method=hashlib.sha256
        )
        assert signer.unsign(TOKEN) == TOKEN.rpartition(".")[0].encode()

    @given(client_ids, ids, st.sampled_from(list(Policy)), st.integers(1, 86_400))
    @example("🎲" * 64, (1 << 63) - 1, Policy.REPLACE, 86_400)
    @example("\0", 0, Policy.SHARE, 1)
    def test_says_what_was_signed(self, client_id: str, id: int, policy: Policy, life: int) -> None:
        claims = Claims(client_id, id, int(NOW) + life, policy)
        assert SIGNER.verify(SIGNER.sign(claims), NOW) == claims

    @given(client_ids, ids)
    @example("🎲" * 64, (1 << 63) - 1)
    @example("\xff" * 128, 0)
    def test_fits_a_subprotocol_a_header_and_a_quoted_string(self, client_id: str, id: int) -> None:
        token = SIGNER.sign(Claims(client_id, id, int(NOW), Policy.REPLACE))
        assert len(token) <= MAX_TOKEN_CHARACTERS
        assert re.fullmatch(r"[A-Za-z0-9._-]+", token)

    def test_does_not_show_the_secret(self) -> None:
        assert "secret" not in TOKEN


class TestATokenThatHasExpired:
    def test_is_good_until_its_second(self) -> None:
        assert SIGNER.verify(TOKEN, CLAIMS.expires_at - 0.001) == CLAIMS

    def test_is_refused_at_its_second(self) -> None:
        assert code(TOKEN, now=CLAIMS.expires_at) == TOKEN_EXPIRED

    def test_is_forged_first_of_all_when_it_is_forged(self) -> None:
        assert code(TokenSigner(["another secret"]).sign(CLAIMS), now=CLAIMS.expires_at) == INVALID_TOKEN


class TestRotation:
    """R3: several secrets may be valid at once, the first signs."""

    def test_a_token_of_any_secret_is_good(self) -> None:
        rotated = TokenSigner(["new secret", "old secret"])
        for secret in ("new secret", "old secret"):
            assert rotated.verify(TokenSigner([secret]).sign(CLAIMS), NOW) == CLAIMS

    def test_the_first_secret_signs(self) -> None:
        token = TokenSigner(["new secret", "old secret"]).sign(CLAIMS)
        assert TokenSigner(["new secret"]).verify(token, NOW) == CLAIMS
        assert code(token, TokenSigner(["old secret"])) == INVALID_TOKEN

    def test_a_token_of_a_secret_that_was_dropped_is_refused(self) -> None:
        assert code(TOKEN, TokenSigner(["new secret"])) == INVALID_TOKEN


class TestATokenThatIsForgedOrMalformed:
    @given(st.text())
    @example("")
    @example(".")
    @example("....")
    def test_any_text_is_refused(self, text: str) -> None:
        assert code(text) == INVALID_TOKEN

    @given(st.data())
    def test_any_change_of_what_it_says_is_refused(self, data: st.DataObject) -> None:
        payload = TOKEN.rpartition(".")[0]
        place = data.draw(st.integers(0, len(payload) - 1))
        other = data.draw(st.characters(codec="ascii"))
        assume(other != TOKEN[place])
        assert code(TOKEN[:place] + other + TOKEN[place + 1 :]) == INVALID_TOKEN

    @given(st.data())
    def test_any_other_signature_is_refused(self, data: st.DataObject) -> None:
        payload, _, signature = TOKEN.rpartition(".")
        # the last character carries two bits that belong to no byte
        place = data.draw(st.integers(0, len(signature) - 2))
        other = data.draw(st.characters(codec="ascii"))
        assume(other != signature[place])
        assert code(f"{payload}.{signature[:place]}{other}{signature[place + 1 :]}") == INVALID_TOKEN

    @pytest.mark.parametrize("added", [" ", "\n", "=", "~", "é", "\0", "\ud800", "."])
    def test_a_token_with_something_added_is_refused(self, added: str) -> None:
        for token in (TOKEN + added, added + TOKEN):
            assert code(token) == INVALID_TOKEN

    @given(st.integers(0, len(TOKEN) - 1))
    def test_a_token_that_was_cut_is_refused(self, length: int) -> None:
        assert code(TOKEN[:length]) == INVALID_TOKEN

    def test_a_token_that_is_too_long_is_refused(self) -> None:
        assert code("x" * (MAX_TOKEN_CHARACTERS + 1)) == INVALID_TOKEN

    @pytest.mark.parametrize(
        "payload",
        [
            "",
            "YW5u",
            "YW5u.1-0.9999999999",
            "YW5u.1-0.9999999999.replace.more",
            "YW5u.1.9999999999.replace",
            "YW5u.1-0.soon.replace",
            "YW5u.1-0.9999999999.reject-not",
            "Y.1-0.9999999999.replace",
            "_w.1-0.9999999999.replace",
        ],
    )
    def test_a_payload_of_another_shape_is_refused_though_it_is_signed(self, payload: str) -> None:
        # Such a token can only come from another version that shares the secret.
        signed: Any = SIGNER._signer.sign(payload)
        assert code(signed.decode()) == INVALID_TOKEN

    def test_a_token_for_another_purpose_is_refused(self) -> None:
        payload = TOKEN.rpartition(".")[0]
        signer = type(SIGNER._signer)("the secret of this server", salt="another purpose")
        assert code(signer.sign(payload).decode()) == INVALID_TOKEN
