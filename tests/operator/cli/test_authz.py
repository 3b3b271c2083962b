"""`sidewinder authz check`: from options to a decision, through the process that decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from sidewinder_operator.cli import authz
from sidewinder_operator.cli.authz import Decision, Misread, Unanswered, Wanted, caller, decide, pairs, sentence, target
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.main import main
from sidewinder_operator.cli.pictures import Picture, Target

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: zero-trust, namespace: bookinfo}
spec:
  targetRefs: [{kind: Namespace}]
  mtls: {mode: Strict, exceptPorts: [9090]}
  authorization:
    defaultAction: Deny
    rules:
    - name: pages-read
      action: Allow
      from: [{serviceAccounts: [bookinfo/productpage]}]
      to: [{methods: [GET], paths: [{type: PathPrefix, value: /reviews}]}]
    - name: members
      action: Allow
      when: [{claim: realm.groups, operator: In, values: [members]}]
    - name: beta
      action: Allow
      when: [{header: x-beta, operator: In, values: ["1"]}]
"""


def run(folder: Path, *words: str) -> Result:
    (folder / "all.yaml").write_text(MANIFESTS)
    given = ["authz", "check", "-f", str(folder), "-n", "bookinfo", "--to", "reviews", *words]
    return CliRunner().invoke(main, given)


CASES = {
    "may": (["--from", "bookinfo/productpage", "--path", "/reviews/1"], 0, "allowed by the rule pages-read"),
    "another path": (["--from", "bookinfo/productpage", "--path", "/admin"], 1, "denied with 403 by the defaultAction"),
    "smuggled": (["--from", "bookinfo/productpage", "--path", "/reviews//x"], 1, "denied with 400 by pathNormaliz"),
    "another method": (["--from", "bookinfo/productpage", "--path", "/reviews", "--method", "POST"], 1, "defaultAct"),
    "no certificate": (["--from-ip", "192.0.2.7", "--path", "/reviews"], 1, "denied with 403 by the mtls of ApiPolicy"),
    "a claim": (["--from", "x/y", "--claim", "realm.groups=guests", "--claim", "realm.groups=members"], 0, "members"),
    "a header": (["--from", "spiffe://cluster.local/ns/x/sa/y", "--header", "X-Beta=1"], 0, "by the rule beta"),
    "another trust domain": (
        ["--from", "spiffe://evil.example/ns/bookinfo/sa/productpage", "--path", "/reviews"],
        1,
        "denied with 403",
    ),
    "a connection": (["--from", "bookinfo/productpage", "--tcp"], 1, "denied with 403 by the defaultAction"),
    "a port by name": (["--from", "bookinfo/productpage", "--path", "/reviews", "--to", "reviews:http"], 0, "allowed"),
    "no such port": (["--to", "reviews:1"], 2, "has no port 1; it has 9080 (http)"),
    "no such Service": (["--to", "bookinfo/nobody"], 2, "these manifests have no Service bookinfo/nobody"),
    "no such caller": (["--from", "productpage"], 2, "write NAMESPACE/SERVICEACCOUNT"),
    "no such address": (["--from-ip", "office"], 2, "this is no IP address"),
    "no such path": (["--path", "/a\nb"], 2, "is more than one line"),
}


@pytest.mark.parametrize(("words", "code", "said"), CASES.values(), ids=CASES)
def test_what_is_said_and_how_it_ends(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    result = run(tmp_path, *words)
    assert (result.exit_code, said in result.output) == (code, True), result.output


def test_for_machines(tmp_path: Path) -> None:
    result = run(tmp_path, "--from", "bookinfo/productpage", "--path", "/reviews/1?x", "-o", "json")
    told = json.loads(result.stdout)
    assert told["action"] == "Allow"
    [decision] = told["decisions"]
    assert (decision["proxy"], decision["rule"], decision["path"]) == (
        "a pod with app=reviews",
        "pages-read",
        "/reviews/1",
    )


def test_without_manifests_and_without_an_up_the_cluster_is_asked(tmp_path: Path) -> None:
    words = ["authz", "check", "--to", "reviews", "--state", str(tmp_path)]
    result = CliRunner().invoke(main, words, env={"PATH": str(tmp_path)})
    assert result.exit_code == 2
    assert "kubectl is not on the PATH" in result.output


TARGETS = {
    "alone": ("reviews", Target("shop", "reviews")),
    "with a port": ("reviews:9080", Target("shop", "reviews", "9080")),
    "elsewhere": ("bookinfo/reviews:http", Target("bookinfo", "reviews", "http")),
}


@pytest.mark.parametrize(("text", "wanted"), TARGETS.values(), ids=TARGETS)
def test_whom_it_calls(text: str, wanted: Target) -> None:
    assert target(text, "shop") == wanted


@pytest.mark.parametrize("text", ["", ":80", "/reviews", "a/b/c"])
def test_whom_nobody_can_call(text: str) -> None:
    with pytest.raises(Misread, match="write SERVICE"):
        target(text, "shop")


def test_claims_are_lists_and_objects() -> None:
    words = ["sub=ann", "realm.groups=a", "realm.groups=b", "realm.groups=c", "https://idp.example/team=x=y"]
    assert caller("", "", words).claims == {
        "sub": "ann",
        "realm": {"groups": ["a", "b", "c"]},
        "https://idp.example/team": "x=y",
    }
    assert caller("", "", []).claims is None


@pytest.mark.parametrize("words", [["sub"], ["=x"], ["a=1", "a.b=2"], ["a.b=2", "a=1"]], ids=" ".join)
def test_claims_that_are_none(words: list[str]) -> None:
    with pytest.raises(Misread, match="--claim"):
        caller("", "", words)


@pytest.mark.parametrize("words", [["x"], ["=x"], ["a=1", "A=2"]], ids=" ".join)
def test_headers_that_are_none(words: list[str]) -> None:
    with pytest.raises(Misread, match="--header"):
        pairs(words, "--header")


def test_who_decides_and_cannot_is_told() -> None:
    with pytest.raises(Unanswered, match="somebody: the snapshot has no inbound listener"):
        decide([Picture("somebody", 80, {})], caller("a/b", "", []), Wanted())


DENIED = Decision(proxy="a", action="Deny", status=403, policy="shop/p", rule="closed", why="not valid")
ALLOWED = Decision(proxy="b", action="Allow", why="no policy holds on this port", audited=("shop/q (mtls)",))


def test_proxies_that_differ_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice(Console(width=240), Console(stderr=True, width=240))
    authz.show([DENIED, ALLOWED, Decision(proxy="c", action="Allow", why=ALLOWED.why, audited=ALLOWED.audited)], voice)
    out, err = capsys.readouterr()
    assert "denied with 403, because ApiPolicy shop/p is broken and never was good: not valid [a]" in out
    assert not err, "a refusal is an answer"
    assert "allowed: no policy holds on this port [b, c]" in out
    assert "shop/q (mtls) would refuse it, and is in Audit mode" in out
    assert not authz.is_allowed([ALLOWED, DENIED])
    assert sentence(ALLOWED) == "allowed: no policy holds on this port"
