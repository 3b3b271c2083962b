"""How the API server is asked: tokens, refusals, what is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidewinder_operator.apiserver import APPLY, ApiServer, Refused, refusal
from tests.support.apiserver import FakeApiServer

THINGS = "/apis/example.dev/v1/namespaces/shop/things"


def test_objects_are_made_read_and_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            token = tmp_path / "token"
            token.write_text("one")
            server.token = "one"
            api = ApiServer(server.url, token_file=token)
            await api.send("POST", THINGS, {"metadata": {"name": "a"}})
            assert (await api.get(f"{THINGS}/a"))["metadata"]["name"] == "a"
            with pytest.raises(Refused, match="404 NotFound: b not found"):
                await api.get(f"{THINGS}/b")
            server.token = "two"
            with pytest.raises(Refused) as told:
                await api.get(f"{THINGS}/a")
            assert told.value.status == 401
            token.write_text("two\n")
            assert await api.get(f"{THINGS}/a")
            body = {"metadata": {"name": "a"}, "status": {"well": True}}
            await api.send("PATCH", f"{THINGS}/a/status", body, query={"fieldManager": "me"}, kind=APPLY)
            assert server.requests[-1] == ("PATCH", f"{THINGS}/a/status", {"fieldManager": "me"})
            assert repr(api) == f"<ApiServer {server.url}>"
            await api.close()

    asyncio.run(main())


def test_what_is_not_a_status_is_told_as_it_is() -> None:
    told = refusal(502, b"<html>bad gateway</html>")
    assert (told.status, told.reason, str(told)) == (502, "", "502: <html>bad gateway</html>")
    assert str(refusal(500, b"")) == "500: no reason was given"
    assert str(refusal(500, b"\xff\xfe")).startswith("500: ")
